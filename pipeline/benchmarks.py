"""What each table in `reports/benchmarks` says, in one line."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from infomax_nb.names import in_words

OURS = "ours"
NETWORKS = {"resnet_small": "the small ResNet", "resnet18": "ResNet-18", "resnet50": "ResNet-50"}


def verdict_of(path: Path) -> str:
    """The verdict of a table `<device>_<name>.csv`; nothing if there is none for it."""
    name = path.stem.partition("_")[2]
    return verdict(name, pd.read_csv(path))


def verdict(name: str, table: pd.DataFrame) -> str:
    """One line on what a benchmark found.

    Args:
        name: the benchmark's, such as `views`.
        table: its rows, as `reports/benchmarks` keeps them.

    Returns:
        The line; nothing for a benchmark that has none, or a table without rows.
    """
    say = VERDICTS.get(name)
    return say(table) if say and len(table) else ""


# --- Against peers ----------------------------------------------------------------------------


def _views(table: pd.DataFrame) -> str:
    parts = []
    for size, rows in table.groupby("pixels"):
        peer = rows["candidate"].str.partition(",")[0]
        best = rows.assign(peer=peer).sort_values("times_ours").drop_duplicates("peer")
        ratios = best[best["peer"] != OURS].set_index("peer")["times_ours"]
        ours = rows.loc[rows["candidate"] == OURS, "ms_per_image"].item()
        text = f"eight views of {size} pixels take ours {ours:.2g} ms an image"
        parts.append(f"{text}, {_longer(ratios)}")
    return _sentence(f"{_standing(table)}: {'; '.join(parts)}")


def _loss(table: pd.DataFrame) -> str:
    usual = table[table["D"] == 128]
    parts = []
    for name, rows in usual[usual["candidate"] != OURS].groupby("candidate", sort=False):
        largest = rows.loc[rows["N"].idxmax()]
        at = f"{name} takes {largest['times_ours']:.2g} times as long"
        ours = usual[(usual["N"] == largest["N"]) & (usual["candidate"] == OURS)]
        memory = largest["extra_MB"] / ours["extra_MB"].iloc[0]
        if memory > 0:
            at += f" and {memory:.2g} times the memory"
        parts.append(f"{at} at N = {largest['N']:,}")
    return _sentence(f"{_standing(table)}: {'; '.join(parts)}")


def _epoch(table: pd.DataFrame) -> str:
    ours = table.loc[table["candidate"] == OURS].iloc[0]
    peers = table[table["candidate"] != OURS].set_index("candidate")["times_ours"]
    what = f"an epoch of {ours['images']:,} images takes ours {ours['seconds']:.0f} s"
    return _sentence(f"{_standing(table)}: {what}, {_longer(peers)}")


def _standing(table: pd.DataFrame) -> str:
    """Whether ours is the fastest, and if not, who is faster somewhere."""
    others = table[table["candidate"] != OURS]
    faster = others.loc[others["times_ours"] < 1, "candidate"].unique()
    if not len(faster):
        return "Ours is the fastest at every size" if len(table) > 2 else "Ours is faster"
    return f"Ours is not always the fastest ({' and '.join(faster)})"


def _longer(ratios: pd.Series) -> str:
    """How many times as long as ours each peer takes."""
    return ", ".join(f"{name} {ratio:.2g} times as long" for name, ratio in ratios.items())


# --- Of ours alone ----------------------------------------------------------------------------


def _loss_scaling(table: pd.DataFrame) -> str:
    last = table.loc[table["N"].idxmax()]
    return f"The objective of {last['N']:,.0f} views takes {last['extra_MB']:.0f} MB more memory."


def _step(table: pd.DataFrame) -> str:
    parts = []
    for network, rows in table.groupby("backbone", sort=False):
        share = rows.set_index("candidate")["share_of_step"]
        what = f"views take {share['views']:.0%} and the objective {share['objective']:.0%}"
        parts.append(f"{what} of a step of {NETWORKS.get(str(network), network)}")
    return _sentence("; ".join(parts))


def _engine(table: pd.DataFrame) -> str:
    first = table.iloc[0]["candidate"]
    others = table.iloc[1:].set_index("candidate")["share_of_first"]
    shares = ", ".join(f"{share:.2f} ({name})" for name, share in others.items())
    return f"A step takes this share of its time at commit {first}: {shares}."


def _late_step(table: pd.DataFrame) -> str:
    ours, simclr = (table.set_index("candidate").loc[name] for name in (OURS, "SimCLR"))
    times = f"{1000 * ours['seconds']:.0f} and {1000 * simclr['seconds']:.0f} ms"
    share = f"ours costs {1 / simclr['share_of_first']:.2g} times SimCLR's"
    return f"In late training a step of ours and of SimCLR takes {times} on one core: {share}."


def _side_by_side(table: pd.DataFrame) -> str:
    most = table.loc[table["runs"].idxmax()]
    ratio = f"{most['times_one_run']:.2g} times as many images a second"
    return f"At once, {most['runs']:.0f} runs see {ratio} as one run."


def _busy(table: pd.DataFrame) -> str:
    first = table[table["candidate"] == table.iloc[0]["candidate"]]
    ratios = first[first["beside"] != "nothing"].set_index("beside")["times_quiet"]
    parts = [f"{ratio:.2g} beside {name}" for name, ratio in ratios.items()]
    return f"A run takes so many times its quiet time: {', '.join(parts)}."


def _report(table: pd.DataFrame) -> str:
    first = table.iloc[0]
    training = f"{first['train_s']:.0f} s of training and {first['evaluation_s']:.0f} s"
    return f"The fast profile's run takes {training} of evaluation."


def _throughput(table: pd.DataFrame) -> str:
    rates = table["images_per_second"]
    ends = []
    for row in (table.loc[rates.idxmin()], table.loc[rates.idxmax()]):
        network = NETWORKS.get(row["backbone"], row["backbone"])
        kind = f"{in_words(row['method'])}, {network}, {row['image_size']} pixels"
        ends.append(f"{row['images_per_second']:.3g} ({kind})")
    return f"Training sees between {ends[0]} and {ends[1]} images a second."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


VERDICTS: dict[str, Callable[[pd.DataFrame], str]] = {
    "views": _views,
    "loss": _loss,
    "epoch": _epoch,
    "loss_scaling": _loss_scaling,
    "step": _step,
    "engine": _engine,
    "late_step": _late_step,
    "side_by_side": _side_by_side,
    "busy": _busy,
    "report": _report,
    "throughput": _throughput,
}
# What each line is about, where several stand together; in their order.
SUBJECTS = {
    "views": "Views of an image",
    "loss": "The objective",
    "loss_scaling": "Its memory",
    "epoch": "An epoch, ResNet-18",
    "step": "Parts of a step",
    "throughput": "Training",
    "late_step": "Late training",
    "report": "The fast profile",
    "side_by_side": "Several runs",
    "busy": "Beside other work",
    "engine": "Against an older commit",
}
