"""Faults, each brought about for real in a run of the command.

The table of what happened is `reports/faults.md`, which the fixture `table` writes. Every test has
a finished run beside the one that meets the fault, and ends with the fault removed: the same
command then gives, byte for byte, the metrics of a run that met none, and the same weights.

The command runs in processes of its own, forked from one that has imported its libraries: that
saves most of the time.
"""

import multiprocessing
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.files import load_weights
from infomax_nb.train.__main__ import main
from infomax_nb.train.record import environment
from infomax_nb.train.run import Run

ROOT = Path(__file__).parents[2]
SMALL = {"n_classes": 10, "n_train": 128, "batch_size": 8, "proj_dim": 16}
SMALL |= {"epochs": 2, "device": "cpu"}
STEPS = SMALL["n_train"] // SMALL["batch_size"]
MB = 2**20
ROWS: dict[str, tuple[str, str]] = {}  # fault: what happened, what was lost
SKIPPED: list[str] = []
STARTED = environment()  # before the report is written, which changes the tree


def command(folder: Path, log: Path, arguments: list, limits: dict[str, int]) -> None:
    """In the new process: what `python -m infomax_nb.train ARGUMENTS` does, its output in `log`."""
    os.chdir(folder)
    tempfile.tempdir = str(folder / "tmp")  # as `TMPDIR` at the start of a program would
    for number, path in ((1, os.devnull), (2, log)):
        os.dup2(os.open(path, os.O_WRONLY), number)
    for name, limit in limits.items():
        if name == "RLIMIT_AS":  # beside what the libraries take
            limit += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(getattr(resource, name), (limit, limit))
    sys.argv = ["train", *map(str, arguments)]
    main()


FORKS = multiprocessing.get_context("forkserver")
OWN_MODULES = ["infomax_nb.train.trainer", "infomax_nb.data.readers"]
FORKS.set_forkserver_preload([*OWN_MODULES, "timm", "lightly.loss", "pytest"])


class Command(FORKS.Process):
    """A process with the names that `subprocess.Popen` has for what is asked of it."""

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self) -> int:
        self.join(300)
        assert self.exitcode is not None, "it hangs"
        return self.exitcode

    def send_signal(self, sign: int) -> None:
        os.kill(self.pid, sign)


class Place:
    """A folder with a finished run, a parameter file, and the command that trains what it says."""

    def __init__(self, folder: Path, neighbour: Run | None = None, **values):
        self.folder = folder
        self.runs = folder / "runs"
        self.file = folder / "run.yaml"
        self.marker = folder / "pwned"
        self.neighbour = neighbour
        self.runs.mkdir(exist_ok=True, parents=True)
        (folder / "tmp").mkdir()
        self.write(**{**SMALL, **values})
        if neighbour:
            shutil.copytree(neighbour.path, self.runs / neighbour.path.name)

    def write(self, **values) -> None:
        self.file.write_text(yaml.safe_dump(values))
        self.run = Run(TrainConfig(**values, runs_dir=str(self.runs)).run_dir)

    def start(self, **limits: int) -> "Command":
        """The command, in a process of its own, under limits such as `RLIMIT_FSIZE=2**20`."""
        self.log = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        self.log.touch()
        arguments = [self.file, "-p", "runs_dir", self.runs]
        process = Command(target=command, args=(self.folder, self.log, arguments, limits))
        process.start()
        return process

    def refused(self, *words: str, **limits: int) -> str:
        """The one sentence with which the command stops; paths in it are replaced by names."""
        process = self.start(**limits)
        assert process.wait() == 1, self.log.read_text()
        lines = self.log.read_text().splitlines()
        assert len(lines) == 1, lines
        assert all(word in lines[0] for word in words), lines
        assert lines[0].count("cannot be used") <= 1
        assert ".part" not in lines[0]
        assert "Traceback" not in lines[0]
        self.intact()
        return self.without_paths(lines[0])

    def without_paths(self, sentence: str) -> str:
        """A sentence that is the same wherever the folder is."""
        names = {str(self.folder) + "/": "", str(self.folder): ".", self.run.path.name: "RUN"}
        for path, name in names.items():
            sentence = sentence.replace(path, name)
        return sentence

    def intact(self) -> None:
        """What was finished before is as it was, and nothing half-written lies about."""
        if self.neighbour:
            mine = Run(self.runs / self.neighbour.path.name)
            for path in self.neighbour.path.iterdir():
                assert (mine.path / path.name).read_bytes() == path.read_bytes(), path.name
            assert mine.finished
            assert len(mine.metrics) == SMALL["epochs"]
        assert not list(self.runs.rglob("*.part"))
        assert not list((self.folder / "tmp").glob("*"))

    def finishes_as(self, undisturbed: Run) -> None:
        """The same command, without the fault, ends as a run that met none."""
        process = self.start()
        assert process.wait() == 0, self.log.read_text()
        self.equals(undisturbed)

    def equals(self, undisturbed: Run) -> None:
        """The run has the metrics and the weights of one that met no fault."""
        assert self.run.finished
        assert not (self.run.path / "checkpoint.ckpt").exists()
        assert metrics_bytes(self.run) == metrics_bytes(undisturbed)
        own = self.run.weights
        assert own.keys() == undisturbed.weights.keys()
        for name, value in undisturbed.weights.items():
            assert torch.equal(torch.as_tensor(own[name]), torch.as_tensor(value)), name
        self.intact()


def metrics_bytes(run: Run) -> bytes:
    return (run.path / "metrics.csv").read_bytes()


def until(condition, process: Command, pause: float = 0.005):
    """What `condition()` returns once it holds; the process must live that long."""
    deadline = time.monotonic() + 300
    value = condition()
    while not value:
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(pause)
        value = condition()
    return value


def first_epoch_done(run: Run) -> bool:
    return (run.path / "checkpoint.ckpt").exists()


def kill(process: Command, sign: int = signal.SIGKILL) -> int:
    process.send_signal(sign)
    return process.wait()


@contextmanager
def mounted(*options: str, at: Path, source: str = "tmpfs"):
    """Something mounted at a folder; skips where this is not allowed."""
    done = subprocess.run(["mount", *options, source, str(at)], capture_output=True, text=True)
    if done.returncode:
        SKIPPED.append(str(at))
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def trained(folder: Path, **values) -> Run:
    place = Place(folder, **values)
    process = place.start()
    assert process.wait() == 0, place.log.read_text()
    return place.run


@pytest.fixture(scope="module", autouse=True)
def table(request):
    """`reports/faults.md`, written when every test of this file has run and none has failed."""
    yield
    tests = {name for name in globals() if name.startswith("test_")}
    own = [item for item in request.session.items if item.module.__name__ == __name__]
    all_asked_for = tests == {item.originalname for item in own}
    if all_asked_for and len(ROWS) + len(SKIPPED) == len(own):
        part = ROOT / "reports" / "faults.md.part"
        part.write_text(page(), encoding="utf-8")
        part.replace(ROOT / "reports" / "faults.md")


PAGE = (
    "# Faults\n\n"
    "Written by `make test-all` (`tests/slow/test_faults.py`). Each fault is brought about for "
    "real in a run of {epochs} epochs × {images} images. After each, the finished run beside it is "
    "unchanged and nothing half-written is left. Once the fault is removed, the same command ends "
    "with exactly the metrics and weights of a run that met none. Memory runs out on the CPU, not "
    "on a GPU.\n\n"
    "Ran on: {machine}.{skipped}\n\n"
    "| fault | what happened | what was lost |\n|---|---|---|\n{rows}\n"
)


def page() -> str:
    """The table of what happened, in Markdown."""
    versions = f"Python {STARTED['python']}, torch {STARTED['versions']['torch']}"
    cores = f"{STARTED['cores']} cores, {torch.get_num_threads()} thread(s)"
    skipped = f" Not tried, since mounting is not allowed here: {len(SKIPPED)} faults."
    return PAGE.format(
        epochs=SMALL["epochs"],
        images=SMALL["n_train"],
        machine=f"commit {STARTED['commit']}, {versions}, {STARTED['cpu']}, {cores}",
        skipped=skipped if SKIPPED else "",
        rows="\n".join(f"| {fault} | {' | '.join(cells)} |" for fault, cells in ROWS.items()),
    )


def row(fault: str, happened: str, lost: str) -> None:
    """Note a fault for the table."""
    assert "/" not in fault
    assert "|" not in happened
    ROWS[fault] = (happened, lost)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("neighbour"), kappa=1)


@pytest.fixture
def place(tmp_path, neighbour):
    return Place(tmp_path, neighbour)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that was killed with SIGKILL in its second epoch."""
    place = Place(tmp_path_factory.mktemp("killed"))
    process = place.start()
    until(lambda: first_epoch_done(place.run), process)
    time.sleep(0.2)
    assert kill(process) == -signal.SIGKILL
    assert len(pd.read_csv(place.run.path / "metrics.csv")) == 1
    assert not (place.run.path / "model.pt").exists()
    return place.run


@pytest.fixture
def interrupted(place, killed):
    shutil.copytree(killed.path, place.run.path)
    return place


# --- Signals --------------------------------------------------------------------------------------


def test_sigterm_in_an_epoch(place, undisturbed):
    process = place.start()
    until(lambda: first_epoch_done(place.run), process)
    time.sleep(0.3)
    assert kill(process, signal.SIGTERM) == 143, place.log.read_text()
    loops = load_weights(place.run.path / "checkpoint.ckpt")["loops"]
    steps = loops["fit_loop"]["epoch_loop.batch_progress"]["current"]["completed"]
    assert 0 < steps < STEPS
    assert not place.run.finished
    place.intact()
    place.finishes_as(undisturbed)
    happened = f"saved after step {steps} of {STEPS} of epoch 2, exit code 143"
    row("SIGTERM in the middle of an epoch", happened, "nothing")


def test_sigkill_in_an_epoch(interrupted, undisturbed):
    interrupted.finishes_as(undisturbed)
    happened = "killed in epoch 2; went on after epoch 1"
    row("SIGKILL in the middle of an epoch", happened, "the epoch it was in")


def test_sigkill_while_a_checkpoint_is_written(place, undisturbed):
    """The half-written file must be neither taken for the whole one nor left for ever."""

    def half():
        files = [*place.run.path.glob("checkpoint.ckpt.*.part"), *(place.folder / "tmp").glob("*")]
        return [p for p in files if p.stat().st_size]

    for _ in range(8):  # the moment is short: it may have passed
        process = place.start()
        until(half, process, 0.001)
        kill(process)
        left = half()
        if left:
            break
    assert left
    assert not place.run.finished
    place.finishes_as(undisturbed)
    happened = "the half-written file was removed at the next start"
    row("SIGKILL while a checkpoint is written", happened, "the epoch")


def test_sigkill_between_model_and_record(place, undisturbed):
    """A pipe in the place of the file that it opens next holds the process at that moment."""
    process = place.start()
    # a start removes what killed processes left
    until(lambda: first_epoch_done(place.run), process)
    pipe = place.run.path / f"record.json.{process.pid}.part"
    os.mkfifo(pipe)
    until(lambda: (place.run.path / "model.pt").exists(), process)
    time.sleep(0.1)
    assert kill(process) == -signal.SIGKILL
    pipe.unlink()
    assert len(pd.read_csv(place.run.path / "metrics.csv")) == 2
    assert not (place.run.path / "record.json").exists()
    assert not place.run.finished
    place.intact()
    place.finishes_as(undisturbed)
    fault = "SIGKILL after metrics.csv and model.pt, before record.json"
    row(fault, "not taken for finished; finished anew", "nothing")


def test_two_processes_at_once(place, undisturbed):
    first = place.start()
    log = place.log
    second = place.start()
    statuses = [process.wait() for process in (first, second)]
    output = log.read_text() + place.log.read_text()
    assert statuses == [0, 0], output
    assert len(output.splitlines()) == 1, output
    assert "is being trained by another process; waiting for it." in output
    place.equals(undisturbed)
    happened = place.without_paths(output.strip())
    row("Two processes train one run at once", happened, "nothing; trained once")


def test_the_one_of_two_processes_that_trains_is_killed(place, undisturbed):
    processes = {}
    for _ in range(2):
        process = place.start()
        processes[place.log] = process

    def waiting_logs():
        return [log for log in processes if "waiting for it" in log.read_text()]

    log = until(waiting_logs, process)[0]
    survivor = processes.pop(log)
    (victim,) = processes.values()
    until(lambda: first_epoch_done(place.run), victim)
    assert kill(victim) == -signal.SIGKILL
    assert survivor.wait() == 0, log.read_text()
    place.equals(undisturbed)
    fault = "Two processes, and the one that trains gets SIGKILL"
    row(fault, "the other took over after epoch 1", "the epoch it was in")


# --- Disks ----------------------------------------------------------------------------------------


def fill(folder: Path, free: int) -> Path:
    """A file that leaves so many bytes of the folder's file system."""
    room = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - free))
    return ballast


@pytest.mark.parametrize("free, whole", [(1, 0), (30, 1)])
def test_the_disk_is_full(tmp_path, neighbour, undisturbed, free, whole):
    """A file system of 64 MB with 1 MB left, too little for a checkpoint, or 30, enough for one."""
    (tmp_path / "runs").mkdir()
    with mounted("-t", "tmpfs", "-o", "size=64m", at=tmp_path / "runs"):
        place = Place(tmp_path, neighbour)
        ballast = fill(place.runs, free * MB)
        sentence = place.refused("checkpoint.ckpt could not be written, the disk may be full")
        assert not place.run.finished
        assert first_epoch_done(place.run) == bool(whole)
        if whole:
            assert load_weights(place.run.path / "checkpoint.ckpt")["epoch"] == 0
        ballast.unlink()
        place.finishes_as(undisturbed)
    row(f"Disk full, {free} MB left", sentence, "the epoch whose checkpoint did not fit")


def test_the_disk_has_no_room_for_the_first_file(tmp_path, neighbour, undisturbed):
    (tmp_path / "runs").mkdir()
    with mounted("-t", "tmpfs", "-o", "size=64m", at=tmp_path / "runs"):
        place = Place(tmp_path, neighbour)
        place.run.path.mkdir()
        ballast = fill(place.runs, 0)
        sentence = place.refused("could not be written", "No space left on device")
        ballast.unlink()
        place.finishes_as(undisturbed)
    row("Disk full, nothing left", sentence, "nothing")


def test_a_file_may_not_grow(place, undisturbed):
    sentence = place.refused("checkpoint.ckpt could not be written", RLIMIT_FSIZE=MB)
    place.finishes_as(undisturbed)
    lost = "the epoch whose checkpoint did not fit"
    row("Files limited to 1 MB (RLIMIT_FSIZE)", sentence, lost)


def test_the_run_directory_is_read_only(interrupted, undisturbed):
    """Begun elsewhere; a mount, because permissions do not bind root."""
    place = interrupted
    before = {p.name: p.read_bytes() for p in place.run.path.iterdir()}
    with mounted("--bind", at=place.runs, source=str(place.runs)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place.runs)], check=True)
        name = place.run.path.name
        sentence = place.refused("runs_dir", name, "cannot be written to", "Read-only")
        assert {p.name: p.read_bytes() for p in place.run.path.iterdir()} == before
        place.write(**SMALL, kappa=1)  # the finished one needs no writing
        assert place.start().wait() == 0, place.log.read_text()
        place.write(**SMALL)
    place.finishes_as(undisturbed)
    row("Read-only run directory", sentence, "nothing")


# --- Files of a run -------------------------------------------------------------------------------


def test_a_truncated_checkpoint(interrupted, undisturbed):
    """Deleted afterwards: the run begins anew."""
    checkpoint = interrupted.run.path / "checkpoint.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    sentence = interrupted.refused(str(checkpoint), "damaged or incomplete")
    checkpoint.unlink()
    interrupted.finishes_as(undisturbed)
    row("Truncated checkpoint", sentence, "the epochs in it, where no copy is left")


def test_a_checkpoint_with_a_flipped_byte(interrupted, undisturbed):
    """Restored afterwards: the run goes on."""
    checkpoint = interrupted.run.path / "checkpoint.ckpt"
    whole = checkpoint.read_bytes()
    middle = len(whole) // 2
    checkpoint.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    sentence = interrupted.refused(str(checkpoint), "check sum")
    checkpoint.write_bytes(whole)
    interrupted.finishes_as(undisturbed)
    happened = re.sub(r"\d*archive\S*|data/\d+", "…", sentence)
    row("Checkpoint with a flipped byte", happened, "nothing, once restored")


def test_a_foreign_checkpoint(place, killed, undisturbed):
    """A run with another seed has the same shapes, and would go on without complaint."""
    place.write(**SMALL, seed=1)
    place.run.path.mkdir()
    foreign = place.run.path / "checkpoint.ckpt"
    shutil.copy(killed.path / "checkpoint.ckpt", foreign)
    sentence = place.refused("checkpoint: ", str(foreign), "another run's")
    place.write(**SMALL)
    place.run.path.mkdir()
    foreign.rename(place.run.path / "checkpoint.ckpt")  # where it belongs
    place.finishes_as(undisturbed)
    row("Another run's checkpoint", sentence, "nothing, once moved away")


def test_the_metrics_of_a_finished_run_are_damaged(place, undisturbed):
    shutil.copytree(undisturbed.path, place.run.path)
    metrics = place.run.path / "metrics.csv"
    whole = metrics.read_text()
    metrics.write_text(whole.replace("1", "2", 1))
    sentence = place.refused("record.json", "check sum", "metrics.csv")
    metrics.write_text(whole)
    place.finishes_as(undisturbed)
    row("A changed digit in a finished run's metrics.csv", sentence, "nothing, once restored")


# --- Data -----------------------------------------------------------------------------------------


def bright_and_dark(folder: Path) -> None:
    """Twenty images of each of two classes."""
    rng = np.random.default_rng(0)
    for name in ("bright", "dark"):
        (folder / name).mkdir(parents=True)
        for k in range(20):
            pixels = rng.integers(0, 128, (32, 32, 3), np.uint8) + 100 * (name == "bright")
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k}.png")


def test_a_damaged_image(tmp_path, neighbour):
    data = tmp_path / "data"
    bright_and_dark(data)
    own = {"dataset": "folder", "data_root": str(data), "image_size": 32}
    own |= {"n_train": None, "batch_size": 8}
    reference = trained(tmp_path / "reference", **own)
    place = Place(tmp_path / "place", neighbour, **own)
    image = data / "dark" / "7.png"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    sentence = place.refused("data_root", str(image), "damaged or incomplete")
    assert not place.run.path.exists()
    image.write_bytes(whole)
    place.finishes_as(reference)
    sentence = sentence.replace(str(data), "data")
    row("Truncated image in a folder of images", sentence, "nothing")


def test_a_damaged_cifar_pickle(tmp_path, neighbour, undisturbed):
    """Made here, so its MD5 is not the published one, whole or damaged: it must be refused, not
    unpickled.

    The payload of `tests/unit/test_trust.py` is run by the first unpickling. A data set with the
    published sums would be needed to see a run finish on it; the command finishes on its own data
    here.
    """
    place = Place(tmp_path, neighbour, dataset="cifar10", data_root=str(tmp_path / "data"))
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch '{place.marker}'",)

    images = {"data": np.zeros((10, 3072), np.uint8), "labels": [*range(10)]}
    batch = pickle.dumps({**images, "payload": Payload()})
    damaged = bytearray(batch)
    damaged[2000] ^= 1
    batches = [f"data_batch_{k}" for k in range(1, 6)]
    for name in [*batches, "test_batch", "batches.meta"]:
        (folder / name).write_bytes(damaged if name == "data_batch_3" else batch)
    sentence = place.refused("data_root", "data_batch_1", "MD5").replace(str(tmp_path), ".")
    assert not place.marker.exists()
    assert not place.run.path.exists()
    pickle.loads(batch)
    assert place.marker.exists()  # the payload is a real one
    place.write(**SMALL)
    place.finishes_as(undisturbed)
    fault = "CIFAR-10 pickles without the published MD5, with a payload"
    row(fault, sentence, "nothing; the payload was not run")


# --- Numbers and memory ---------------------------------------------------------------------------


def test_the_loss_becomes_nan(place, undisturbed):
    place.write(**SMALL, lr=1e30)
    sentence = place.refused("the loss became NaN in epoch 1", "lr 1e+30")
    assert not first_epoch_done(place.run)
    assert not place.run.finished
    place.write(**SMALL)
    place.finishes_as(undisturbed)
    row("NaN in the loss (lr = 1e30)", sentence, "the epoch; no checkpoint holds NaN")


def test_memory_runs_out(place, undisturbed):
    """The process may take 32 MB beside what it has imported: too little for 128 images' views."""
    place.write(**{**SMALL, "batch_size": 128})
    sentence = place.refused("out of memory on cpu", "batch_size below 128", RLIMIT_AS=32 * MB)
    assert not place.run.finished
    place.write(**SMALL)
    place.finishes_as(undisturbed)
    row("Out of memory (RLIMIT_AS)", sentence, "the epoch")


def test_an_unknown_kappa_in_a_sweep(tmp_path, neighbour, undisturbed):
    """Three files, one after another: the one in the middle costs the others nothing."""
    place = Place(tmp_path)
    statuses = []
    outputs = []
    for kappa in (1, -1, 10):
        place.file.write_text(yaml.safe_dump({**SMALL, "kappa": kappa}))
        statuses.append(place.start().wait())
        outputs.append(place.log.read_text())
    assert statuses == [0, 1, 0], outputs
    first, refused, last = outputs
    assert first == last == ""
    assert len(refused.splitlines()) == 1
    assert "kappa = -1 is not allowed" in refused
    names = [neighbour.path.name, undisturbed.path.name]
    assert sorted(path.name for path in place.runs.iterdir()) == sorted(names)
    assert metrics_bytes(Run(place.runs / neighbour.path.name)) == metrics_bytes(neighbour)
    place.write(**SMALL)
    place.equals(undisturbed)
    happened = place.without_paths(refused.strip())
    row("kappas 1, −1, 10 in a sweep", happened, "nothing; the two others finished")
