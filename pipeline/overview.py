"""`python -m pipeline.overview` draws the README's picture from committed results.

It writes `reports/overview.png`: one claim of the paper that holds, and one that is not shown.
"""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from infomax_nb.files import atomic_write, project_root
from infomax_nb.plots import LABELS
from pipeline.command import takes_nothing

REPORTS = project_root() / "reports"
SHOWN = {
    "infomax": "ours",
    "simclr": "SimCLR",
    "supervised": "supervised",
    "untrained": "untrained",
    "centre prior": "a central blob",
}


def draw_kappa(axis: plt.Axes) -> None:
    """Draw accuracy by epoch for each κ: mean and standard deviation over seeds."""
    metrics = pd.read_csv(REPORTS / "kappa_cifar10" / "metrics.csv")
    metrics = metrics.sort_values("kappa", ascending=False)
    metrics["kappa"] = metrics.kappa.map("{:g}".format)
    style = {"hue": "kappa", "palette": "viridis_r", "errorbar": "sd"}
    sns.lineplot(metrics, x="epoch", y="linear_top1", ax=axis, **style)
    axis.legend(title="κ", loc="lower right", fontsize=9, labelspacing=0.2)
    axis.set(xlabel="epoch", ylabel=LABELS["linear_top1"])
    axis.set_title("A larger κ is faster early: yes", loc="left", fontsize=11)


def draw_objects(axis: plt.Axes) -> None:
    """Draw how much of each network's saliency lies on objects, with its interval over images."""
    ratios = pd.read_csv(REPORTS / "saliency_tiny_imagenet" / "table.csv", index_col=0).ratio
    numbers = ratios[list(SHOWN)].str.extract(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)").astype(float)
    numbers.columns = ["mean", "low", "high"]
    places = range(0, -len(SHOWN), -1)
    errors = [numbers["mean"] - numbers.low, numbers.high - numbers["mean"]]
    axis.errorbar(numbers["mean"], places, xerr=errors, fmt="o", capsize=3)
    axis.axvline(1, color="black", ls="--", lw=1)
    axis.set_yticks(list(places), SHOWN.values())
    axis.set(xlabel="saliency on the object, times chance", ylim=(-len(SHOWN) + 0.4, 0.6))
    axis.set_title("Networks focus on objects: not shown", loc="left", fontsize=11)


def overview() -> Figure:
    """The figure with both drawings, side by side."""
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.3), layout="constrained")
    draw_kappa(axes[0])
    draw_objects(axes[1])
    return figure


def main() -> None:
    """Draw the figure."""
    takes_nothing("overview", __doc__)
    path = REPORTS / "overview.png"
    atomic_write(path, lambda p: overview().savefig(p, format="png", dpi=120))
    print(path.relative_to(project_root()))


if __name__ == "__main__":
    main()
