"""Give the site's readers what moves in a notebook: films, and sliders from recorded states."""

import base64
import re
from html import escape
from itertools import product
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_output

from infomax_nb.figures.sliders import STATES

FOLDER = "_moving"  # beside the site's pages
FILM = re.compile(r'<img class="film" alt="([^"]*)" src="data:image/webp;base64,([^"]+)">')


def give_films(notebook: NotebookNode, name: str, folder: Path) -> None:
    """Move each film to a file, and show its still where a reader's system asks for less motion.

    Args:
        notebook: the notebook, which is changed.
        name: the notebook's, part of the films' names.
        folder: where the films are written, in `FOLDER`.
    """
    for cell in notebook.cells:
        for number, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            found = FILM.match(data.get("text/html", ""))
            if found:
                place = f"{FOLDER}/{name}-{cell.id}-{number}"
                _write(folder / f"{place}.webp", found[2])
                _write(folder / f"{place}.png", data.pop("image/png"))
                data["text/html"] = (
                    "<picture>"
                    f'<source media="(prefers-reduced-motion: reduce)" srcset="../{place}.png">'
                    f'<img class="film" alt="{found[1]}" src="../{place}.webp">'
                    "</picture>"
                )


def _write(file: Path, content: str) -> None:
    """Write what is given in base64 to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(content))


def give_sliders(notebook: NotebookNode, name: str, folder: Path) -> None:
    """Replace each cell's picture with a picture that has sliders, where states are recorded.

    Args:
        notebook: the executed notebook, which is changed. The alternative texts of its pictures
            have been set.
        name: the notebook's, part of the pictures' names.
        folder: where the pictures are written, in `FOLDER`.
    """
    for cell in notebook.cells:
        recorded = [out for out in cell.get("outputs", []) if STATES in out.get("data", {})]
        if not recorded:
            continue
        states = recorded[0].data[STATES]
        place = f"{FOLDER}/{name}-{cell.id}"
        for places, picture in states["pictures"].items():
            _write(folder / place / file_name(places), picture)
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        html = with_sliders(states, f"../{place}", alt)
        cell.outputs = [new_output("display_data", {"text/html": html, "text/plain": alt})]


def file_name(places: str) -> str:
    """The picture's file at these places of the sliders.

    >>> file_name("0,12")
    '0-12.webp'
    """
    return f"{places.replace(',', '-')}.webp"


def with_sliders(states: dict, folder: str, alt: str) -> str:
    """HTML with the sliders, the picture at the start, and the tables of all states.

    `_static/states.js` moves picture and table with the sliders.

    Args:
        states: what `figures.sliders.record` returned.
        folder: of the pictures, relative to the page.
        alt: the pictures' alternative text.
    """
    sliders = states["sliders"]
    start = ",".join(str(slider["start"]) for slider in sliders)
    lines = [f'<div class="states" data-folder="{escape(folder)}">']
    lines += [_slider(slider) for slider in sliders]
    picture = f"{folder}/{file_name(start)}"
    lines.append(f'<img class="state" src="{escape(picture)}" alt="{escape(alt)}">')
    for places in product(*(range(len(slider["texts"])) for slider in sliders)):
        key = ",".join(map(str, places))
        if key in states["tables"]:
            hidden = "" if key == start else " hidden"
            table = states["tables"][key]
            lines.append(f'<div class="state-table" data-places="{key}"{hidden}>{table}</div>')
    return "\n".join([*lines, "</div>"])


def _slider(slider: dict) -> str:
    """One slider in HTML: its label, the range, the value as text."""
    texts = slider["texts"]
    start = slider["start"]
    spoken = escape("|".join(texts))
    return (
        f'<label class="state-slider"><span>{escape(slider["label"])}</span>'
        f'<input type="range" min="0" max="{len(texts) - 1}" value="{start}" step="1"'
        f' data-texts="{spoken}" aria-valuetext="{escape(texts[start])}">'
        f"<output>{escape(texts[start])}</output></label>"
    )
