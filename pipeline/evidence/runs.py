"""The runs of `docs/plan.md`, as `params/evidence/` asks for them, in order.

Each file is a line of the plan, named by the letter that begins the file's name. It holds fields of
`TrainConfig` for all its runs, and `runs`, each with a `name` and its own fields, for each of
`seeds`. `blocks` are several such lists, one after another; `of` repeats other lines' runs. Four
keys of a run are not fields: `trunk`, the name of the run of the same seed from which it branches
at `start_epoch`; `keep_network`, whether its backbone is kept with its results; `probe`, whether
the converged probe is fitted at the end; `not_built`, what is missing in the code.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infomax_nb.config import TrainConfig, read_yaml, text_where_text_is_meant
from infomax_nb.errors import ParameterError, not_allowed
from infomax_nb.files import atomic_write
from pipeline.evidence.places import Places

LISTS = {"seeds", "runs", "blocks", "of"}
OWN_KEYS = ("keep_network", "probe", "not_built")


@dataclass(frozen=True)
class Planned:
    """One run of the plan.

    Args:
        line: the plan's line, a letter.
        label: name and seed, unique in its line.
        config: the configuration that is trained.
        places: where it is read and written.
        folder: the name of the line's results.
        data_root: the part of the data's folder that the line uses.
        trunk: the run from which it branches.
        keep_network: whether its backbone is kept with its results.
        probe: whether the converged probe is fitted at the end.
        not_built: what is missing in the code.
    """

    line: str
    label: str
    config: TrainConfig
    places: Places
    folder: str
    data_root: str = ""
    trunk: "Planned | None" = None
    keep_network: bool = False
    probe: bool = True
    not_built: str = ""

    @property
    def results(self) -> Path:
        """The folder for its results once it has finished: `reports/late_<line>/<label>`."""
        return self.places.reports / f"late_{self.folder}" / self.label

    @property
    def name(self) -> str:
        """Line and label, its name in messages and logs."""
        return f"{self.line}_{self.label}"

    @property
    def log(self) -> Path:
        """The file with the output of the process that trains it."""
        return self.places.journal / f"{self.name}.log"

    @property
    def start(self) -> int:
        """Number of epochs that its trunk has trained for it."""
        return self.config.start_epoch or 0

    @property
    def branching(self) -> Path | None:
        """The trunk's checkpoint with which it begins; None if it has no trunk."""
        return self.trunk.kept(self.start) if self.trunk else None

    @property
    def lacks_branching(self) -> bool:
        """Whether it must wait for its trunk."""
        return self.branching is not None and not self.branching.exists()

    def kept(self, epoch: int) -> Path:
        """The path of the checkpoint that it keeps after an epoch."""
        return self.config.run_dir / f"epoch_{epoch}.ckpt"

    def note(self, kind: str, reason: str = "", **more: Any) -> None:
        """Write down what the queue did with it.

        Raises:
            RunError: the disk is full.
        """
        text = json.dumps({"kind": kind, "said": reason, **more})
        path = self.log.with_suffix(".json")
        atomic_write(path, lambda part: part.write_text(text, encoding="utf-8"))

    def last_note(self) -> dict:
        """The queue's last note; empty if there is none, or none that can be read."""
        try:
            note = json.loads(self.log.with_suffix(".json").read_bytes())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}


def planned(places: Places) -> list[Planned]:
    """All runs in the plan's order.

    Raises:
        ParameterError: there are no files, one is not a line of the plan, or a run is not allowed.
    """
    files = {path.stem: read_yaml(path) for path in sorted(places.params.glob("*.yaml"))}
    if not files:
        allowed = "a folder with a parameter file for each line of the plan"
        raise not_allowed("params", str(places.params), allowed)
    common = files.pop("common", {})
    lines = {stem.partition("_")[0]: {**common, **values} for stem, values in files.items()}
    for stem in files:
        if not _is_a_line(lines[stem.partition("_")[0]], lines):
            allowed = "a line of the plan: `runs`, each with a name, or `of` other lines; `seeds`"
            raise not_allowed("params", str(places.params / f"{stem}.yaml"), allowed)
    letters = [stem.partition("_")[0] for stem in files]
    twice = [letter for letter, count in Counter(letters).items() if count > 1]
    if twice:
        allowed = f"a folder with one file for each line, it has several for {', '.join(twice)}"
        raise not_allowed("params", str(places.params), allowed)
    runs: list[Planned] = []
    for stem in files:
        line, _, folder = stem.partition("_")
        for values in _line_values(lines[line], lines):
            name = f"{values['name']}, seed {values['seed']}"
            try:
                run = _run(line, folder or line, values, places, runs)
            except ParameterError as error:
                raise ParameterError(f"{places.params / stem}.yaml, {name}: {error}") from None
            if run.name in {each.name for each in runs}:
                allowed = "one run of each name and seed"
                raise not_allowed("params", f"{places.params / stem}.yaml, {name}", allowed)
            runs.append(run)
    return runs


def chosen(runs: list[Planned], lines: str | None) -> list[Planned]:
    """The runs of some lines.

    Args:
        runs: all runs.
        lines: the lines, such as `a,b`; None or nothing for all that are letters.

    Raises:
        ParameterError: there is no such line, or none is named.
    """
    known = sorted({run.line for run in runs})
    if not lines:
        return [run for run in runs if run.line.isalpha()]
    asked = [line.strip() for line in lines.split(",") if line.strip()]
    if not asked or not set(asked) <= set(known):
        raise ParameterError(f"ONLY = {lines} is not allowed: the lines are {', '.join(known)}.")
    return [run for run in runs if run.line in asked]


def _is_a_line(values: dict, lines: dict[str, dict]) -> bool:
    """Whether each block of a file has seeds, and runs with names or lines that are there.

    A line may repeat only lines that have runs of their own.
    """
    blocks = values.get("blocks") or [{}]
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        return False
    return all(_is_a_block(block, lines) for block in _blocks(values))


def _is_a_block(block: dict, lines: dict[str, dict]) -> bool:
    if not isinstance(block["seeds"], list):
        return False
    if "of" in block:
        if not isinstance(block["of"], list) or not set(block["of"]) <= lines.keys():
            return False
        return not any(_repeats(lines[line]) for line in block["of"])
    runs = block.get("runs")
    return isinstance(runs, list) and all(isinstance(run, dict) and "name" in run for run in runs)


def _repeats(values: dict) -> bool:
    """Whether a file repeats other lines; one that is wrong in itself is refused as such."""
    blocks = values.get("blocks") or [{}]
    return "of" in values or any("of" in block for block in blocks if isinstance(block, dict))


def _blocks(values: dict) -> list[dict]:
    """The blocks of a file, or the file as its one block; each with what the file says for all."""
    common = {"seeds": [0], **values}
    blocks = common.pop("blocks", None) or [{}]
    return [{**common, **block} for block in blocks]


def _line_values(values: dict, lines: dict[str, dict]) -> list[dict]:
    """The values of each run of a line, block by block, seed by seed."""
    runs = []
    for block in _blocks(values):
        entries = _entries(block, lines)
        for seed in block["seeds"]:
            runs += [{**entry, "seed": seed} for entry in entries]
    return runs


def _entries(values: dict, lines: dict[str, dict]) -> list[dict]:
    """The values of each run of a block, without its seed."""
    if "of" in values:
        repeated = [block for line in values["of"] for block in _blocks(lines[line])]
        return [entry for block in repeated for entry in _entries(block, lines)]
    fields = {name: value for name, value in values.items() if name not in LISTS}
    return [{**fields, **run} for run in values["runs"]]


def _run(line: str, folder: str, values: dict, places: Places, before: list[Planned]) -> Planned:
    """The run that a line's values describe; its trunk is one of the runs `before` it."""
    label = f"{values.pop('name')}_seed{values['seed']}"
    below = str(values.pop("data_root", ""))
    own = {key: values.pop(key) for key in OWN_KEYS if key in values}
    trunk = None
    trunk_name = values.pop("trunk", None)
    if trunk_name:
        trunk = _labelled(f"{trunk_name}_seed{values['seed']}", before)
        values["start_from"] = trunk.config.name
    here = {"data_root": str(Path(places.data_root) / below), "runs_dir": places.runs_dir}
    config = TrainConfig(**text_where_text_is_meant({**values, **here}))
    if config.precision == "auto":
        reason = f"is not allowed in {places.params}: it must be '32' or 'bf16'"
        raise ParameterError(f"precision = 'auto' {reason}.")
    return Planned(line, label, config, places, folder, below, trunk, **own)


def _labelled(label: str, runs: list[Planned]) -> Planned:
    for run in runs:
        if run.label == label:
            return run
    raise ParameterError(f"trunk: no run before it is called {label}.")
