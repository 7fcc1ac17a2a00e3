"""`python -m pipeline.overview` draws the README's picture from committed results.

It writes `reports/overview.png`: the plan's verdicts on two claims of the paper, its headline about
the global term and that networks focus on objects, each with what it was compared with.
"""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from infomax_nb.files import project_root
from infomax_nb.late import evaluations, verdict_rows, without_trunks
from infomax_nb.plots import LABELS, save
from pipeline.command import takes_nothing

REPORTS = project_root() / "reports"
CONDITIONS = {
    "kappa10": "β = 1",
    "beta1.25_from20": "β = 1.25 from epoch 20",
    "beta1.5_from20": "β = 1.5 from epoch 20",
    "beta2_from20": "β = 2 from epoch 20",
}
COMPARED = {
    "less untrained": "ours less an\nuntrained network",
    "less centre": "ours less a blob\nin the middle",
}


def draw_weaker_global_term(axis: plt.Axes) -> None:
    """Draw accuracy by epoch for each weight of the local entropy: mean and range of the seeds."""
    rows = without_trunks(evaluations(*CONDITIONS))
    rows = rows[rows.epoch.between(10, 40)].replace({"run": CONDITIONS})
    names = [name for name in CONDITIONS.values() if name in set(rows.run)]
    style = {"hue": "run", "hue_order": names, "palette": "viridis", "errorbar": ("pi", 100)}
    sns.lineplot(rows, x="epoch", y="linear_top1", ax=axis, **style)
    axis.legend(title=None, loc="lower right", fontsize=9)
    axis.set(xlabel="epoch", ylabel=LABELS["linear_top1"])
    axis.set_title(f"A weaker global term helps: {_answer('4')}", loc="left", fontsize=11)


def draw_objects(axis: plt.Axes) -> None:
    """Draw how much more saliency lies on the object than two references put there."""
    numbers = pd.read_csv(REPORTS / "verdicts" / "numbers.csv", dtype={"claim": str})
    rows = numbers[numbers.claim == "8"].set_index("what").loc[list(COMPARED)]
    places = range(0, -len(rows), -1)
    errors = [rows["mean"] - rows.low, rows.high - rows["mean"]]
    axis.errorbar(rows["mean"], places, xerr=errors, fmt="o", capsize=3)
    axis.axvline(0, color="black", ls="--", lw=1)
    axis.set_yticks(list(places), COMPARED.values())
    axis.set_xlabel("saliency on the animal, difference (points)")
    axis.set_ylim(-len(rows) + 0.4, 0.6)
    axis.set_title(f"Networks focus on objects: {_answer('8')}", loc="left", fontsize=11)


def _answer(claim: str) -> str:
    """The plan's verdict on a claim."""
    return verdict_rows([claim]).loc[claim, "verdict"]


def overview() -> Figure:
    """The figure with both drawings, side by side."""
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.4), layout="constrained")
    draw_weaker_global_term(axes[0])
    draw_objects(axes[1])
    return figure


def main() -> None:
    """Draw the figure."""
    takes_nothing("overview", __doc__)
    path = REPORTS / "overview.png"
    save(overview(), path)
    print(path.relative_to(project_root()))


if __name__ == "__main__":
    main()
