"""What the commands have in common that make one result under `reports/` by its name."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError, RunError


def parser(module: str, description: str | None, names: Iterable[str]) -> argparse.ArgumentParser:
    """Reads `python -m pipeline.<module> NAME`, where NAME is one of the names."""
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.{module}", description=description)
    parser.add_argument("name", choices=names, metavar="NAME", help=" or ".join(names))
    return parser


def until_read(main: Callable[[], None]) -> None:
    """Run a command that prints; a reader such as `head` may stop reading."""
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def with_data(config: TrainConfig) -> TrainConfig:
    """The configuration with its data in the folder that INFOMAX_DATA names, else in `data`."""
    return config.replace(data_root=os.environ.get("INFOMAX_DATA", "data"))


def finish(make: Callable[[], str]) -> None:
    """Print what was made. Where it cannot be made, exit with the reason in a sentence."""
    try:
        print(make())
    except (ParameterError, RunError) as error:
        sys.exit(str(error))
