"""What notebook 08 draws of its own: methods beside what was not trained, and over rates."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from infomax_nb.figures.axes import log_ticks, look
from infomax_nb.names import in_words
from infomax_nb.plots import LABELS, curves, legend_beside
from infomax_nb.report import TOP1_COLUMNS

MEASURES = {"linear_top1": "linear head", "knn_top1": "k-NN"}
LOOK_UP = "colour statistics, 5 neighbours"  # a row of the baselines


def accuracy(metrics: pd.DataFrame, baselines: pd.DataFrame, title: str = "") -> Figure:
    """Both accuracies after each epoch, and horizontal lines for what was not trained.

    Args:
        metrics: rows of runs, with their method.
        baselines: rows `untrained` and `raw pixels`, columns as in `TOP1_COLUMNS`, in percent.
        title: shown above.
    """
    figure = curves(metrics, list(TOP1_COLUMNS), hue="method", title=title)
    styles = {"untrained": "--", "raw pixels": ":"}
    for axis, column in zip(figure.axes, TOP1_COLUMNS, strict=True):
        for name, style in styles.items():
            height = float(baselines.loc[name, column])
            axis.axhline(height, color="0.2", ls=style, lw=1.8, label=name)
    legend_beside(figure.axes[-1])
    return figure


def results(metrics: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """A panel of a forest plot: both accuracies after the last epoch, in percent.

    The interval is one standard deviation over seeds to both sides; what was not trained, and a
    single seed, has none.

    Args:
        metrics: rows of runs, with their method.
        baselines: accuracies of what was not trained, a row for each.
    """
    last = metrics[metrics.epoch == metrics.epoch.max()].groupby("method", sort=False)
    parts = []
    for column, words in MEASURES.items():
        mean = pd.concat([last[column].mean(), baselines[column]]).dropna()
        spread = last[column].std().reindex(mean.index)
        part = pd.DataFrame({"mean": mean, "low": mean - spread, "high": mean + spread})
        parts.append(part.assign(series=words))
    return pd.concat(parts).rename(index=in_words)


def by_rate(metrics: pd.DataFrame, column: str = "linear_top1") -> Figure:
    """One accuracy after the last epoch over the learning rate, a line for each method."""
    figure, axis = plt.subplots(figsize=(9.5, 4.6), layout="tight")
    last = metrics[metrics.epoch == metrics.epoch.max()]
    groups = last.groupby("method", sort=False)
    for number, (name, rows) in enumerate(groups):
        mean = rows.groupby("lr")[column].mean()
        axis.plot(mean.index, mean, ms=7, label=in_words(name), **look(number))
    log_ticks(axis, sorted(last.lr.unique()), "{:.2g}")
    axis.set_xlabel("learning rate")
    axis.set_ylabel(LABELS[column])
    legend_beside(axis)
    return figure


def in_order(metrics: pd.DataFrame, methods: Mapping[str, Any]) -> pd.DataFrame:
    """The rows sorted as the methods are listed, so that all figures have one order."""
    place = {name: number for number, name in enumerate(methods)}
    return metrics.sort_values("method", key=lambda names: names.map(place), kind="stable")
