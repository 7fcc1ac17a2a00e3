"""The command line: `python -m infomax_nb.train`."""

import sys
from pathlib import Path

import torch

from infomax_nb.command import arguments
from infomax_nb.config import TrainConfig
from infomax_nb.distributed import processes
from infomax_nb.errors import ParameterError, RunError, one_line
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run


def main() -> None:
    """Train what the command line says (see `command`), and print the run's directory."""
    given = arguments()
    changes = dict(given.p)
    try:
        if given.run:
            old = Run(Path(given.run).resolve())
            torch.set_num_threads(old.record.get("threads") or torch.get_num_threads())
            changes = {"runs_dir": str(old.path.parent / "rebuilt"), **changes}
            config = old.config.replace(**changes)
        else:
            config = TrainConfig.from_yaml(given.file, **changes)
        was_there = Run(config.run_dir).finished
        run = fit(config, given.devices)
        if processes(given.devices).rank == 0:
            if was_there:
                said = f"already finished, reused: {run.path}; delete it to train anew"
                print(said, file=sys.stderr)
            print(run.path)
    except (ParameterError, RunError, FloatingPointError) as error:
        sys.exit(f"{given.file or given.run}: {one_line(error)}")


if __name__ == "__main__":
    main()
