"""train.__main__."""

import argparse
import sys
from pathlib import Path

import torch

from infomax_nb.config import TrainConfig
from infomax_nb.distributed import processes
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run


def main() -> None:
    """`python -m infomax_nb.train params/x.yaml -p epochs 1 -p data_root DIR`: train what a file
    describes.

    `--from RUN_DIR` trains anew, on as many threads, what the record of a run describes, into
    `rebuilt/` beside it.
    Several devices: `--devices 2`, or `torchrun --nproc-per-node 2 -m infomax_nb.train ...`, or
    `srun -n 2 ...`.
    """
    parser = argparse.ArgumentParser(prog="python -m infomax_nb.train", description=main.__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", help="a parameter file")
    source.add_argument("--from", dest="run", metavar="RUN_DIR", help="a run to train anew")
    parser.add_argument(
        "--devices", type=int, help="processes on this machine, one for each device; default 1"
    )
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="as papermill's"
    )
    given = parser.parse_args()
    try:
        changes = {k: None if v in ("none", "None", "null", "~") else v for k, v in given.p}
        if given.run:
            old = Run(Path(given.run).resolve())
            torch.set_num_threads(old.record.get("threads") or torch.get_num_threads())
            config = old.config.replace(**{"runs_dir": str(old.path.parent / "rebuilt"), **changes})
        else:
            config = TrainConfig.from_yaml(given.file, **changes)
        run = fit(config, given.devices)
        if processes(given.devices).rank == 0:
            print(run.path)
    except (ParameterError, RunError, FloatingPointError) as error:
        sys.exit(f"{given.file or given.run}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
