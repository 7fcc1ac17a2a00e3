"""Pictures with sliders: with a kernel, on the site from recorded states, else at the start."""

import base64
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from infomax_nb.errors import not_allowed
from infomax_nb.notebook import is_interactive

STATES = "application/vnd.infomax-nb.states+json"
RECORDING = "INFOMAX_STATES"  # set in the environment, states are recorded for the site

Drawn = Figure | tuple[Figure, pd.DataFrame]


@dataclass(frozen=True)
class Choice:
    """What a slider moves: its label, values, their texts, and the place of the first one shown."""

    label: str
    values: list
    texts: list[str]
    start: int


def choice(label: str, values: Sequence, start: Any, form: str = "{:g}") -> Choice:
    """A slider over given values.

    Args:
        label: what stands beside it.
        values: in the slider's order.
        start: the value that is shown first.
        form: how a value is written, a format.

    Raises:
        ParameterError: `start` is none of the values.
    """
    values = list(values)
    texts = [form.format(value) for value in values]
    if start not in values:
        raise not_allowed("start", start, f"one of {', '.join(texts)}")
    return Choice(label, values, texts, values.index(start))


def explore(draw: Callable[..., Drawn], **choices: Choice) -> None:
    """Show what `draw` draws, with a slider for each of its arguments.

    A person with a kernel gets ipywidgets' sliders. Else the picture at the start is shown; where
    the environment asks for it, the pictures of all states are recorded beside it, and the site
    gives them sliders.

    Args:
        draw: returns a figure, or a figure and a table that is shown below it.
        choices: for each argument of `draw`, the values that it can have.
    """
    if is_interactive():
        _with_widgets(draw, choices)
        return
    _show(draw(**_at(choices, [each.start for each in choices.values()])))
    if os.environ.get(RECORDING):
        display({STATES: record(draw, choices), "text/plain": "states for sliders"}, raw=True)


def record(draw: Callable[..., Drawn], choices: dict[str, Choice]) -> dict:
    """The pictures of all states.

    Args:
        draw: as in `explore`.
        choices: as in `explore`, by the argument's name.

    Returns:
        `sliders`, with label, texts and start of each; `pictures`, WebP in base64 by the places of
        the sliders, as in "0,3"; and `tables`, HTML by the same places.
    """
    pictures = {}
    tables = {}
    for places in product(*(range(len(each.values)) for each in choices.values())):
        key = ",".join(map(str, places))
        figure, table = _parts(draw(**_at(choices, places)))
        pictures[key] = base64.b64encode(_webp(figure)).decode()
        if table is not None:
            with pd.option_context("display.max_colwidth", None):
                tables[key] = table.to_html(border=0)
    sliders = [
        {"label": each.label, "texts": each.texts, "start": each.start} for each in choices.values()
    ]
    return {"sliders": sliders, "pictures": pictures, "tables": tables}


def _at(choices: dict[str, Choice], places: Sequence[int]) -> dict[str, Any]:
    """The arguments that stand at these places of the sliders."""
    both = zip(choices.items(), places, strict=True)
    return {name: each.values[place] for (name, each), place in both}


def _parts(drawn: Drawn) -> tuple[Figure, pd.DataFrame | None]:
    """The figure, and the table if there is one."""
    return (drawn, None) if isinstance(drawn, Figure) else drawn


def _show(drawn: Drawn) -> None:
    """Display the figure, and the table below it."""
    figure, table = _parts(drawn)
    display(figure)
    plt.close(figure)  # or the end of the cell shows it once more
    if table is not None:
        with pd.option_context("display.max_colwidth", None):
            display(table)


def _webp(figure: Figure) -> bytes:
    """The figure as notebooks show it, compressed without loss; the figure is closed."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    plt.close(figure)
    small = io.BytesIO()
    Image.open(picture).convert("RGB").save(small, "WEBP", lossless=True, method=6)
    return small.getvalue()


def _with_widgets(draw: Callable[..., Drawn], choices: dict[str, Choice]) -> None:
    """Show sliders of ipywidgets, which draw when they are let go."""
    import ipywidgets  # a person is here

    look = {"style": {"description_width": "14em"}, "layout": {"width": "40em"}}
    sliders = {}
    for name, each in choices.items():
        options = list(zip(each.texts, each.values, strict=True))
        chosen = {"options": options, "index": each.start, "description": each.label}
        sliders[name] = ipywidgets.SelectionSlider(continuous_update=False, **chosen, **look)
    ipywidgets.interact(lambda **values: _show(draw(**values)), **sliders)
