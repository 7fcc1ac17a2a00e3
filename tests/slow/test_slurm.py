"""A sweep on a real SLURM of one node, started here with private folders; it preempts a run.

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
    value = condition()
    while not value:
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)
        value = condition()
    return value


def configured(folder: Path) -> dict[str, str]:
    """Write the cluster's configuration; returns the environment in which its commands find it."""
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    ports = [free_port(), free_port()]
    configuration.write_text(CONFIGURATION.format(folder=folder, ports=ports))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    # The job's own step is started without SLURM's variables: this srun says where the
    # configuration is.
    srun = folder / "bin" / "srun"
    command = f'SLURM_CONF={configuration} exec {shutil.which("srun")} "$@"'
    srun.write_text(f"#!/bin/sh\n{command}\n")
    srun.chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {"SLURM_CONF": str(configuration), "PATH": path}


def daemons(folder: Path) -> list[list[str]]:
    """The commands that make the cluster."""
    files = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
    munge = ["--foreground", "--force", "--num-threads=2", f"--socket={folder}/munge.socket"]
    return [["munged", *munge, *files], ["slurmctld", "-D"], ["slurmd", "-D", "-N", "localhost"]]


def stop(processes: list[subprocess.Popen]) -> None:
    """End the processes, the last one first."""
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
    for process in reversed(processes):
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of a command that may submit jobs; in the end everything is stopped."""
    folder = tmp_path_factory.mktemp("slurm")
    variables = configured(folder)
    own = {**os.environ, **variables}

    def is_idle() -> bool:
        asked = run(folder, ["sinfo", "--noheader", "--format=%T"], **variables)
        return asked.stdout.strip() == "idle"

    started = []
    try:
        for command in daemons(folder):
            with (folder / f"{command[0]}.out").open("w") as out:
                started.append(subprocess.Popen(command, env=own, stdout=out, stderr=out))
            if command[0] == "munged":
                until((folder / "munge.socket").exists, 30, "munged")
        until(is_idle, 60, "the node")
        yield variables
    finally:
        run(folder, ["scancel", "--user=root"], **variables)
        stop(started)


def trained_here(folder: Path, file: Path, **changes) -> Run:
    """The run of a file, trained without SLURM on as many threads."""
    given = [word for name, value in changes.items() for word in ("-p", name, str(value))]
    command = ["python", "-m", "infomax_nb.train", str(file), "-p", "runs_dir", "direct", *given]
    done = run(folder, command)
    assert done.returncode == 0, done.stderr
    return Run(Path(done.stdout.strip()))


def metrics_bytes(folder: Path) -> bytes:
    return (folder / "metrics.csv").read_bytes()


def test_a_sweep_through_the_profile(cluster, tmp_path):
    """Three runs, one of them refused, with a data root that a shell would read in three ways."""
    folder = checkout(tmp_path / "copy")
    sweep_file(folder, "sweep.yaml", kappas=[1, 10, 20, -1])
    root = 'a "b" $(touch pwned) `touch pwned` c\'s \\ d'
    flags = ["--slurm-no-account", "--slurm-status-command", "squeue"]
    flags += ["--slurm-init-seconds-before-status-checks", "3"]
    flags += ["--default-resources", "runtime=10", "mem_mb=1500"]
    config = {"sweep": "sweep.yaml", "data_root": root}
    done = run(folder, snakemake("sweep", *flags, profile="slurm", config=config), **cluster)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "kappa = -1 is not allowed" in output, output[-4000:]
    assert output.count("has been submitted with SLURM jobid") == 3
    runs = [Run(path.parent) for path in folder.glob("runs/*/.done")]
    assert sorted(one.config.kappa for one in runs) == [1, 10, 20], output[-4000:]
    assert all(one.finished for one in runs), output[-4000:]
    (folder / "plain.yaml").write_text(yaml.safe_dump(SMALL))
    for one in runs:
        assert one.config.data_root == root
        assert one.record["threads"] == 1
        direct = trained_here(folder, folder / "plain.yaml", kappa=one.config.kappa)
        assert metrics_bytes(one.path) == metrics_bytes(direct.path)
    assert not list(tmp_path.rglob("pwned"))


def submitted(folder: Path, file: str, variables: dict[str, str]) -> str:
    """The number of a job that trains a file's run, and that may be requeued."""
    (folder / "job.sh").write_text(f"#!/bin/sh\nsrun python -m infomax_nb.train {file}\n")
    command = ["sbatch", "--parsable", "--requeue", "--output=job.log", "job.sh"]
    done = run(folder, command, **variables)
    assert done.stdout.strip().isdigit(), done.stderr
    return done.stdout.strip()


def test_a_preempted_run_goes_on_where_it_stopped(cluster, tmp_path):
    """Requeued in its second epoch: SIGTERM, a checkpoint between two steps, and it trains on."""
    folder = checkout(tmp_path / "copy")
    longer = {**SMALL, "n_train": 960, "batch_size": 16}  # 60 steps an epoch
    (folder / "run.yaml").write_text(yaml.safe_dump(longer))
    wanted = trained_here(folder, folder / "run.yaml")
    resumed = Run(folder / "runs" / wanted.path.name)
    record = resumed.path / "record.json"
    checkpoint = resumed.path / "checkpoint.ckpt"

    def step() -> int:
        return load_weights(checkpoint)["global_step"]

    job = submitted(folder, "run.yaml", cluster)
    until(checkpoint.exists, 300, "the first epoch")
    time.sleep(0.5)  # some steps into the second one
    assert not record.exists()
    assert run(folder, ["scontrol", "requeue", job], **cluster).returncode == 0
    preempted = until(lambda: step() % 60, 60, "the preempted step")
    steps = [step()]
    assert steps == [60 + preempted]

    def has_ended() -> bool:
        if checkpoint.exists() and not record.exists():
            steps.append(step())
        return record.exists()

    until(has_ended, 300, "the requeued job")
    assert steps == sorted(steps)  # it never began anew
    shown = run(folder, ["scontrol", "show", "job", job], **cluster).stdout
    assert "Restarts=1" in shown
    assert resumed.finished
    assert metrics_bytes(resumed.path) == metrics_bytes(wanted.path)
