"""Train the run that a parameter file describes, or a run again, and print its directory.

`infomax-nb FILE -p epochs 1 -p data_root DIR` changes what the file says. `--from` trains a run
again as its record describes it, with the same number of threads, into `rebuilt/` beside it. For
several devices use `--devices 2`, or `torchrun --nproc-per-node 2 -m infomax_nb.train ...`, or
`srun -n 2 ...`. `python -m infomax_nb.train` is the same command.
"""

import argparse
from textwrap import fill

from infomax_nb import __version__
from infomax_nb.config import TrainConfig
from infomax_nb.fields import in_words


def arguments() -> argparse.Namespace:
    """What stands on the command line. `--help` explains every field of `TrainConfig`."""
    parser = argparse.ArgumentParser(
        prog="infomax-nb",
        description=__doc__,
        epilog=parameters(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"infomax-nb {__version__}")
    source = parser.add_mutually_exclusive_group(required=True)
    lines = "a parameter file: YAML, lines of the form 'name: value'"
    source.add_argument("file", nargs="?", metavar="FILE", help=lines)
    source.add_argument("--from", dest="run", metavar="RUN_DIR", help="a run to train anew")
    each = "processes on this machine, one for each device; default 1"
    add("--devices", type=int, help=each)
    pair = ("NAME", "VALUE")
    change = "another value of a parameter, as papermill's -p"
    add("-p", nargs=2, action="append", default=[], metavar=pair, help=change)
    return parser.parse_args()


def parameters() -> str:
    """All parameters of a run, one paragraph each."""
    paragraphs = ["parameters, in a file and for -p:"]
    for name, (meaning, allowed, default) in in_words(TrainConfig).items():
        text = fill(f"{meaning} [{allowed}; default: {default}]", 88)
        paragraphs.append(f"{name}\n{text}".replace("\n", "\n    "))
    return "\n\n".join(paragraphs)
