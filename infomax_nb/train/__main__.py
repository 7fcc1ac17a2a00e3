"""The command line: `python -m infomax_nb.train`."""

import argparse
import sys
from pathlib import Path

import torch

from infomax_nb.config import TrainConfig
from infomax_nb.distributed import processes
from infomax_nb.errors import ParameterError, RunError, one_line
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run


def main() -> None:
    """Train the run that a parameter file describes, or a run again, and print its directory.

    `python -m infomax_nb.train params/fast.yaml -p epochs 1 -p data_root DIR` changes what the file
    says. `--from` trains a run again as its record describes it, with the same number of threads,
    into `rebuilt/` beside it. For several devices use `--devices 2`, or `torchrun --nproc-per-node
    2 -m infomax_nb.train ...`, or `srun -n 2 ...`.
    """
    parser = argparse.ArgumentParser(prog="python -m infomax_nb.train", description=main.__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", metavar="FILE", help="a parameter file (params/*.yaml)")
    source.add_argument("--from", dest="run", metavar="RUN_DIR", help="a run to train anew")
    each = "processes on this machine, one for each device; default 1"
    parser.add_argument("--devices", type=int, help=each)
    pair = ("NAME", "VALUE")
    change = "another value of a parameter, as papermill's -p"
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=pair, help=change)
    given = parser.parse_args()
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
