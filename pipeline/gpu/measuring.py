"""The processes that check and measure, and what they have written, in words."""

import sys
from collections import Counter

from infomax_nb.files import project_root
from pipeline.gpu.jobs import Job
from pipeline.gpu.order import Part
from pipeline.gpu.results import Results
from pipeline.gpu.setting import Setting

SIDE_BY_SIDE_PAYS = 1.15  # times one run's images a second, from which two run at once
USED = 0.4  # of the time that speeds may take, within which a short run may begin


def job(part: Part, setting: Setting, seconds: float) -> Job:
    """The process of a part that measures and may take so many seconds."""
    places = ["--device", setting.device, "--out", str(setting.benchmarks)]
    places += ["--scratch", str(setting.scratch)]
    if part.what == "checks":
        words = ["-m", "pipeline.gpu.checks", *places, "--tolerance", str(setting.tolerance)]
        words += ["--batch", "8" if setting.trial else "32"]
    elif part.what in ("side_by_side", "throughput"):
        words = ["-m", "pipeline.gpu.speeds", part.what, *places]
        words += ["--data-root", setting.data_root, "--seconds", f"{USED * seconds:.0f}"]
        words += ["--trial"] * setting.trial
    else:
        words = [str(project_root() / "benchmarks" / f"{part.what}.py")]
        if part.what == "epoch" and setting.trial:
            words += ["--images", "128"]
    log = setting.scratch / "logs" / f"{part.what}.log"
    least = 0.0 if setting.trial else part.least
    return Job(part.name, [sys.executable, *words], log, least, setting.variables)


def found(part: Part, results: Results) -> str:
    """What a measurement has written, in words; nothing if it has written nothing."""
    rows = results.read()
    if not rows:
        return ""
    if part.what != "checks":
        return f"{len(rows)} lines in {results.table.name}"
    counts = Counter(row["result"] for row in rows)
    words = ", ".join(f"{count} {result}" for result, count in counts.items())
    wrong = [f"{row['check']} of {row['case']}" for row in rows if row["result"] == "failed"]
    return f"{words}: {'; '.join(wrong)}" if wrong else words


def at_once(setting: Setting) -> int:
    """Two, if two runs side by side were measured to see more images a second than one.

    In a trial it is two, for nobody looks at its times.
    """
    if setting.trial:
        return 2
    rows = setting.results("side_by_side").read()
    pays = any(row["times_one_run"] >= SIDE_BY_SIDE_PAYS for row in rows)
    return 2 if pays else 1
