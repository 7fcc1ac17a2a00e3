"""Make pages in Markdown from `templates/`, and their parts: text, tables, lists of facts."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    trim_blocks=True,
    keep_trailing_newline=True,
)
NON_BREAKING = "\u00a0"


def page(template: str, **values: Any) -> str:
    """The text of a template, filled in."""
    return TEMPLATES.get_template(f"{template}.md").render(values)


def escape(text: object) -> str:
    """The text with Markdown's special characters escaped.

    >>> escape("linear_top1")
    'linear\\\\_top1'
    """
    return re.sub(r"([\\`*_{}\[\]<>$|])", r"\\\1", str(text))


def table(frame: pd.DataFrame, marked: bool = False) -> str:
    """A Markdown table of a frame with its index.

    Args:
        frame: the values; missing ones stay empty.
        marked: whether the cells hold Markdown, which is then not escaped.
    """

    def cell(value: object) -> str:
        text = str(value) if marked else escape(value)
        is_short_number = len(text) < 30 and re.match(r"[−–-]?\d", text)
        # A number and its interval stay on one line.
        return text.replace(" ", NON_BREAKING) if is_short_number else text

    head = [str(frame.index.name or ""), *frame.columns]
    lines = [[cell(value) for value in head], ["---"] * len(head)]
    for index, values in zip(frame.index, frame.to_numpy(object), strict=True):
        lines.append([cell("" if pd.isna(value) else value) for value in [index, *values]])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts(items: dict[str, str]) -> str:
    """A table with two columns and no head: names, and facts about them in Markdown."""
    lines = "\n".join(f"* - {name}\n  - {value}" for name, value in items.items())
    return f"```{{list-table}}\n:stub-columns: 1\n:class: facts\n\n{lines}\n```"
