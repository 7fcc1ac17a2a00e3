"""The command `infomax-nb`, also `python -m infomax_nb`: that of `infomax_nb.train`."""

from infomax_nb.command import arguments


def main() -> None:
    """Answer `--help`, `--version` and wrong calls at once; torch is imported to train only."""
    arguments()
    from infomax_nb.train.__main__ import main as train

    train()


if __name__ == "__main__":
    main()
