"""What commands have in common: how they are called, what they refuse, how they end."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError, RunError, not_allowed


def parser(module: str, description: str | None, names: Iterable[str]) -> argparse.ArgumentParser:
    """Reads `python -m pipeline.<module> NAME`, where NAME is one of the names."""
    prog = f"python -m pipeline.{module}"
    arguments = argparse.ArgumentParser(prog=prog, description=description)
    arguments.add_argument("name", choices=names, metavar="NAME", help=" or ".join(names))
    return arguments


def takes_nothing(module: str, description: str | None) -> None:
    """Read the command line of `python -m pipeline.<module>`, which has no options but `--help`."""
    prog = f"python -m pipeline.{module}"
    argparse.ArgumentParser(prog=prog, description=description).parse_args()


def takes_values(parser: argparse.ArgumentParser, said: str = "a value of a parameter") -> None:
    """Let a command be given `-p NAME VALUE`, any number of times.

    Args:
        parser: the command's.
        said: what `--help` says of it.
    """
    pair = ("NAME", "VALUE")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=pair, help=said)


def values_of(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The values of `-p NAME VALUE`, by name, as YAML reads them.

    Raises:
        ParameterError: a value is not YAML.
    """
    values: dict[str, Any] = {}
    for name, text in pairs:
        try:
            values[name] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):  # 2024-13-45 has the form of a date
            allowed = "a value as YAML has it, such as 3, none or 'a text in quotes'"
            raise not_allowed(name, text, allowed) from None
    return values


def made_folder(name: str, path: Path) -> Path:
    """The folder at the path, made if it is not there.

    Args:
        name: the parameter that names it; the sentence begins with it.
        path: its path.

    Raises:
        ParameterError: there can be no such folder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        allowed = f"a folder that is there or can be made ({error.strerror})"
        raise not_allowed(name, str(path), allowed) from None
    return path


def last_line(log: Path, status: int = 0) -> str:
    """What a process said last, and the signal that ended it, if one did.

    Args:
        log: the file with its output.
        status: its exit status as `subprocess` has it, which is negative after a signal.
    """
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    said = text.splitlines()[-1].strip() if text else "it said nothing"
    if status >= 0:
        return said
    return f"ended by {signal.Signals(-status).name}, after it had said: {said}"


def check_folder_of(name: str, path: Path) -> None:
    """Refuse a file that cannot be written, before what comes into it is computed.

    Args:
        name: the parameter that names it; the sentence begins with it.
        path: its path.

    Raises:
        ParameterError: its folder is not there.
    """
    if not path.absolute().parent.is_dir():
        raise not_allowed(name, str(path), "a file in a folder that is there")


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


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Where something is refused or goes wrong, exit with the reason as one sentence."""
    try:
        yield
    except (ParameterError, RunError) as error:
        sys.exit(str(error))


def finish(make: Callable[[], str]) -> None:
    """Print what was made, or say in a sentence why it cannot be made."""
    with in_a_sentence():
        print(make())
