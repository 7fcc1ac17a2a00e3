"""A sweep on a real SLURM of one node, started here with private folders, and a run that it
preempts.

Needs Debian's slurmctld, slurmd, slurm-client and munge.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from checkout import SMALL, checkout, run, snakemake, sweep_file

from infomax_nb.files import load_weights
from infomax_nb.train.run import Run

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="this SLURM's daemons run as root"),
]
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
MinJobAge=600
KillWait=60
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000
PartitionName=one Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def until(condition, seconds: float, what: str):
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of a command that may submit jobs; everything that was started is stopped at
    the end."""
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(folder=folder, ports=[free_port(), free_port()])
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    # The job's own step is started without SLURM's variables: this srun says where the
    # configuration is.
    (folder / "bin/srun").write_text(
        f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n'
    )
    (folder / "bin/srun").chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    files = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
    daemons = [
        [
            "munged",
            "--foreground",
            "--force",
            "--num-threads=2",
            f"--socket={folder}/munge.socket",
            *files,
        ],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", "localhost"],
    ]
    started = []
    try:
        for command in daemons:
            with (folder / f"{command[0]}.out").open("w") as out:
                started.append(
                    subprocess.Popen(
                        command, env={**os.environ, **variables}, stdout=out, stderr=out
                    )
                )
            if command[0] == "munged":
                until((folder / "munge.socket").exists, 30, "munged")
        asked = ["sinfo", "--noheader", "--format=%T"]
        idle = lambda: run(folder, asked, **variables).stdout.strip() == "idle"  # noqa: E731
        until(idle, 60, "the node")
        yield variables
    finally:
        run(folder, ["scancel", "--user=root"], **variables)
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def trained_here(folder: Path, file: Path, **changes) -> Run:
    """The run of a file, trained without SLURM on as many threads."""
    given = [word for name, value in changes.items() for word in ("-p", name, str(value))]
    command = ["python", "-m", "infomax_nb.train", str(file), "-p", "runs_dir", "direct", *given]
    done = run(folder, command)
    assert done.returncode == 0, done.stderr
    return Run(Path(done.stdout.strip()))


def test_a_sweep_through_the_profile(cluster, tmp_path):
    """Three runs, one of them refused; a data root that a shell would read in three ways reaches
    them as it is."""
    folder = checkout(tmp_path / "copy")
    sweep_file(folder, "sweep.yaml", kappas=[1, 10, 20, -1])
    root = 'a "b" $(touch pwned) `touch pwned` c\'s \\ d'
    flags = [
        "--slurm-no-account",
        "--slurm-status-command",
        "squeue",
        "--slurm-init-seconds-before-status-checks",
        "3",
    ]
    flags += ["--default-resources", "runtime=10", "mem_mb=1500"]
    command = snakemake(
        "sweep", *flags, profile="slurm", config={"sweep": "sweep.yaml", "data_root": root}
    )
    done = run(folder, command, **cluster)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "kappa = -1 is not allowed" in said, said[-4000:]
    assert said.count("has been submitted with SLURM jobid") == 3
    runs = [Run(path.parent) for path in folder.glob("runs/*/.done")]
    assert sorted(r.config.kappa for r in runs) == [1, 10, 20] and all(r.finished for r in runs), (
        said[-4000:]
    )
    (folder / "plain.yaml").write_text(yaml.safe_dump(SMALL))
    for one in runs:
        assert one.config.data_root == root and one.record["threads"] == 1
        direct = trained_here(folder, folder / "plain.yaml", kappa=one.config.kappa)
        assert (one.path / "metrics.csv").read_bytes() == (direct.path / "metrics.csv").read_bytes()
    assert not list(tmp_path.rglob("pwned"))


def test_a_preempted_run_goes_on_where_it_stopped(cluster, tmp_path):
    """Requeued in its second epoch: SIGTERM, a checkpoint between two steps, and the same job
    trains on from there."""
    folder = checkout(tmp_path / "copy")
    longer = {**SMALL, "n_train": 960, "batch_size": 16}  # 60 steps an epoch
    (folder / "run.yaml").write_text(yaml.safe_dump(longer))
    wanted = trained_here(folder, folder / "run.yaml")
    at = folder / "runs" / wanted.path.name
    (folder / "job.sh").write_text("#!/bin/sh\nsrun python -m infomax_nb.train run.yaml\n")
    submitted = run(
        folder, ["sbatch", "--parsable", "--requeue", "--output=job.log", "job.sh"], **cluster
    )
    job = submitted.stdout.strip()
    assert job.isdigit(), submitted.stderr
    ended = lambda: (at / "record.json").exists()  # noqa: E731
    until((at / "checkpoint.ckpt").exists, 300, "the first epoch")
    time.sleep(0.5)  # some steps into the second one
    assert not ended()
    assert run(folder, ["scontrol", "requeue", job], **cluster).returncode == 0
    step = until(
        lambda: load_weights(at / "checkpoint.ckpt")["global_step"] % 60, 60, "the preempted step"
    )
    steps = [load_weights(at / "checkpoint.ckpt")["global_step"]]
    assert 60 < steps[0] < 120 and step == steps[0] % 60

    def watched():
        if (at / "checkpoint.ckpt").exists() and not ended():
            steps.append(load_weights(at / "checkpoint.ckpt")["global_step"])
        return ended()

    until(watched, 300, "the requeued job")
    assert steps == sorted(steps)  # it never began anew
    shown = run(folder, ["scontrol", "show", "job", job], **cluster).stdout
    assert "Restarts=1" in shown
    resumed = Run(at)
    assert (
        resumed.finished
        and (at / "metrics.csv").read_bytes() == (wanted.path / "metrics.csv").read_bytes()
    )
