"""The steps of the report, and the runs of the paper or of a sweep, each a job.

A run's job has a parameter file and leaves `runs/NAME/.done`. The targets are report (or fast),
table1, figure3 ... figure7, paper, sweep, table1_cifar10 and so on.

`--config` takes data_root, device, precision, runs_dir; epochs, n_train, batch_size for a trial;
threads and devices of a run; sweep=FILE,FILE for the target sweep. `make` calls it with
profiles/local, a cluster with `--profile profiles/slurm`.
"""

import hashlib
import json
import os
import re
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(workflow.basedir))  # the package beside this file

from snakemake.exceptions import WorkflowError

from infomax_nb.device import expected
from infomax_nb.files import project_root
from pipeline.sweep import FIGURES, failures, log_times, name_of, paper, runs_of, table1_rows


def on_this_cpu() -> bool:
    """Whether runs use the CPU: of this machine, or of a cluster's nodes if that is said."""
    asked = str(config.get("device") or "auto")
    return expected(asked, "auto")[0] == "cpu" if workflow._cores else asked == "cpu"


def threads_of_a_run() -> int:
    """On the CPU one: there is a run on each core, and no number depends on how many there are.

    On two cores, two runs side by side see 2.2 times as many images a second as one with two
    threads (reports/benchmarks/cpu_side_by_side.csv). A run on CUDA takes all cores, so that it has
    the GPU for itself.
    """
    if on_this_cpu() and str(config.get("devices") or 1) == "1":
        return 1
    return workflow._cores or 8  # SLURM's profile gives no number of cores


# Jobs on other machines get what `--config` said through two shells, for which Snakemake does not
# quote: so it travels as digits.
if "packed" in config:
    config = json.loads(bytes.fromhex(config["packed"]))
else:
    config.setdefault("threads", threads_of_a_run())
    workflow.config_settings.config_args = [f"packed={json.dumps(config).encode().hex()}"]
CORES = workflow._cores or os.cpu_count() or 1

# Notebook: what must have run before it, so that its runs are reused.
NOTEBOOKS = {
    "00_loss_derivation": [],
    "01_train": [],
    "02_probe": ["01_train"],
    "03_ablate_kappa": [],
    "04_ablate_beta": ["03_ablate_kappa"],
    "05_ablate_projector": ["03_ablate_kappa"],
    "06_saliency": ["08_compare_methods"],
    "07_centroids": ["08_compare_methods"],
    "08_compare_methods": [],
    "09_coarse_vs_fine": ["08_compare_methods"],
    "10_estimator": [],
}


def results(*kinds: str) -> list[str]:
    """Patterns of the files in `reports/` with these endings."""
    return [f"reports/{folder}*.{kind}" for folder in ("", "*/") for kind in kinds]


def package_and_results() -> list[str]:
    """The files that notebooks compute with, or read."""
    package = [f"infomax_nb/**/*.{kind}" for kind in ("py", "json", "mplstyle")]
    return files([*package, *results("csv", "json")])


def texts_and_results() -> list[str]:
    """The files that the site is made from, beside the notebooks."""
    texts = ["*.md", "docs/**/*", "params/README.md", "pipeline/*.py", "pipeline/site/**/*"]
    return files([*texts, *results("md", "csv", "json", "txt", "png")])


def files(patterns: list[str]) -> list[str]:
    """The files that one of these patterns fits, but those that this workflow makes."""
    found = {path for pattern in patterns for path in Path().glob(pattern) if path.is_file()}
    made = ("reports/html/", "reports/notebooks/")
    return sorted(
        str(path)
        for path in found
        if "__pycache__" not in path.parts and not str(path).startswith(made)
    )


localrules:
    report,
    fast,
    execute,
    site,
    parameters,
    table1,
    paper,
    sweep,


rule report:
    input:
        "reports/html/index.html",
    default_target: True


rule fast:
    input:
        rules.report.input,


# Each as it stands. Those that take longest begin first.
rule execute:
    input:
        package_and_results(),
        notebook="notebooks/{name}.ipynb",
        before=lambda w: [f"reports/notebooks/{name}.ipynb" for name in NOTEBOOKS[w.name]],
    output:
        "reports/notebooks/{name}.ipynb",
    priority: lambda w: {"08_compare_methods": 3, "03_ablate_kappa": 2, "01_train": 1}.get(w.name, 0)
    threads: 1 if on_this_cpu() else max(1, CORES // 2)
    shell:
        "mkdir -p reports/notebooks/running && OMP_NUM_THREADS={threads} INFOMAX_STATES=1"
        " papermill --log-level WARNING --cwd notebooks"
        " {input.notebook} reports/notebooks/running/{wildcards.name}.ipynb"
        " && mv reports/notebooks/running/{wildcards.name}.ipynb {output}"


rule site:
    input:
        expand("reports/notebooks/{name}.ipynb", name=NOTEBOOKS),
        texts_and_results(),
    output:
        "reports/html/index.html",
    shell:
        "python -m pipeline.site"


def given(*names: str) -> dict[str, object]:
    """Those of `--config` that are given."""
    return {name: config[name] for name in names if config.get(name) is not None}


def refusal(name: str, allowed: str) -> WorkflowError:
    return WorkflowError(f"--config {name}={config[name]} is not allowed: it must be {allowed}.")


def numbers(*names: str) -> dict[str, int]:
    """Whole numbers from `--config`."""
    for name, value in given(*names).items():
        if not str(value).isdigit():
            raise refusal(name, "a whole number")
    return {name: int(value) for name, value in given(*names).items()}


def texts(*names: str) -> dict[str, str]:
    """Text from `--config`, of which Snakemake makes what YAML reads in it."""
    for name, value in given(*names).items():
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise refusal(name, "text; put it in quotes of its own")
    return {name: str(value) for name, value in given(*names).items()}


def options(values: dict) -> str:
    """Parameters on a command line. In JSON, which is YAML, a folder's name stays text."""
    words = {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}
    return " ".join(f"-p {name} {shlex.quote(word)}" for name, word in words.items())


PLACES = {"runs_dir": "runs", **texts("data_root", "runs_dir")}
TRIAL = numbers("epochs", "n_train", "batch_size")
CHANGES = {**TRIAL, **texts("device", "precision")}  # what a job's name tells
SWEEPS = [file for file in str(config.get("sweep") or "").split(",") if file]
for name in config.keys() - {*PLACES, *CHANGES, "data_root", "sweep", "threads", "devices"}:
    raise WorkflowError(f"There is no --config {name}: see the first lines of the Snakefile.")
for file in SWEEPS:
    if re.search("[{}]", file):
        reason = "is not allowed: a file's name can have no braces here"
        raise WorkflowError(f"sweep = {file} {reason}.")
    if not Path(file).is_file():
        raise WorkflowError(f"sweep: there is no parameter file {file}.")

AS_TEXT = [f"-p {name} {shlex.quote(str(value))}" for name, value in {**CHANGES, **PLACES}.items()]
DEVICES = numbers("devices").get("devices") or 1
THREADS = numbers("threads")["threads"]
GIVEN = " ".join([f"--devices {DEVICES}", *AS_TEXT])
SUFFIX = "".join(f"-{name}{value}" for name, value in TRIAL.items())
ROOT = os.path.relpath(project_root())
RUNS_DIR = os.path.normpath(os.path.join(ROOT, os.path.expanduser(PLACES["runs_dir"])))


def without_braces(folder: str) -> str:
    """The folder, or a link to it if its name has braces, which Snakemake reads as wildcards."""
    if not re.search("[{}]", folder):
        return folder
    link = Path(".snakemake/runs") / hashlib.sha256(folder.encode()).hexdigest()[:10]
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        Path(folder).mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(folder).absolute(), target_is_directory=True)
    return str(link)


RUNS_DIR = without_braces(RUNS_DIR)
WANTED = paper()
PAPER = {stem: os.path.normpath(f"{ROOT}/params/paper/{stem}.yaml") for stem in WANTED["paper"]}
RUNS = {}  # name: (the file that asks for it, its parameters)
NAMES = {}  # file: the names of its runs
for file in [*PAPER.values(), *SWEEPS]:
    NAMES[file] = runs_of(file, **CHANGES)
    RUNS = {name: (file, values) for name, values in NAMES[file].items()} | RUNS
LOGGED = log_times(Path(RUNS_DIR))  # before this start


def done(*files: str) -> list[str]:
    """What the runs of these parameter files leave when they are finished."""
    names = dict.fromkeys(name for file in files for name in NAMES[file])
    return [f"{RUNS_DIR}/{name}/.done" for name in names]


def evaluated(wildcards) -> list[str]:
    """What must come before: ImageNet-100's run is an evaluation of ImageNet-1000's network."""
    values = RUNS[wildcards.name][1] or {}
    if values.get("dataset") != "imagenet100":
        return []
    trained = name_of({**values, "dataset": "imagenet"})
    return [f"{RUNS_DIR}/{trained}/.done"] if trained in RUNS else []


def own_file(wildcards) -> str:
    """The file that a run is trained from: the paper's, or one written for it."""
    if wildcards.name not in RUNS:
        raise WorkflowError(f"No parameter file asks for {wildcards.name}.")
    file = RUNS[wildcards.name][0]
    whole = file in PAPER.values() and not wildcards.name.startswith("refused-")
    return file if whole else f"{RUNS_DIR}/params/{wildcards.name}.yaml"


wildcard_constraints:
    name=r"\w+(-\w+)*",


# Written whole, or refused: what is not allowed ends here, before anything waits for a device.
rule parameters:
    input:
        lambda w: RUNS[w.name][0],
    output:
        RUNS_DIR + "/params/{name}.yaml",
    log:
        RUNS_DIR + "/logs/{name}.parameters.log",
    shell:
        "python -m pipeline.sweep {input:q} {wildcards.name} {output:q}"
        f" {options(CHANGES)} 2> {{log:q}}"


# The run resumes from what its directory holds. Snakemake clears a job's output first: so it gets a
# marker of its own there, and never the record or a checkpoint.
rule run:
    input:
        file=own_file,
        before=evaluated,
    output:
        touch(RUNS_DIR + "/{name}/.done"),
    log:
        RUNS_DIR + "/logs/{name}.log",
    params:
        given=lambda wildcards: GIVEN,  # from a function it is taken as it is, braces and all
    threads: THREADS
    shell:
        "OMP_NUM_THREADS={threads}"
        " python -m infomax_nb.train {input.file:q} {params.given} > {log:q} 2>&1"


for figure in FIGURES:

    rule:
        name:
            figure
        input:
            done(*(PAPER[stem] for stem in WANTED[figure])),
        localrule: True


for data, dataset in table1_rows().items():

    rule:
        name:
            f"table1_{data}"
        input:
            done(*(PAPER[stem] for stem in WANTED["table1"] if stem.startswith(f"{data}_"))),
        output:
            f"reports/table1_{data}{SUFFIX}.csv",
        params:
            dataset=dataset,
            given=lambda wildcards: options({**CHANGES, **PLACES}),
        localrule: True
        shell:
            "python -m pipeline.table1 {params.dataset:q} {output} {params.given}"


rule table1:
    input:
        expand("reports/table1_{data}" + SUFFIX + ".csv", data=table1_rows()),


rule paper:
    input:
        done(*PAPER.values()),
        rules.table1.input,


rule sweep:
    input:
        done(*SWEEPS),


onerror:
    failed = failures(Path(RUNS_DIR), LOGGED)
    if failed:
        print("Failed, the last line of each log:", *failed, sep="\n", file=sys.stderr)
