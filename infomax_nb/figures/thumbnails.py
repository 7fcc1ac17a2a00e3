"""A map of images that shows the image under the pointer, without kernel and without scripts."""

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from infomax_nb.figures.embedding import draw_map

COLUMNS = 24  # of tiles in the sheet of thumbnails
TILE = 32  # pixels of a tile
SHOWN = 72  # pixels of a thumbnail on the page
SIDE = 7.2  # inches of the square map
STYLE = """
.{name} {{ position: relative; max-width: 950px; }}
.{name} img {{ width: 100%; display: block; }}
.{name} span {{ position: absolute; width: 1.6%; aspect-ratio: 1; }}
.{name} span {{ transform: translate(-50%, -50%); }}
.{name} span:hover::after {{ content: ""; position: absolute; left: 100%; top: 100%; z-index: 1;
  width: {shown}px; height: {shown}px; border: 2px solid #333; pointer-events: none;
  background-image: url({sheet}); background-size: {width}px; background-position: inherit; }}
"""


@dataclass(frozen=True, repr=False)
class HoverMap:
    """A map as a picture, with a spot over each point that shows its thumbnail under the pointer.

    Args:
        html: the picture, the spots and their style sheet.
        png: the picture alone, for readers that show no HTML.
        alt: what is seen, in words.
    """

    html: str
    png: bytes
    alt: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        still = base64.b64encode(self.png).decode()
        return {"text/html": self.html, "image/png": still, "text/plain": self.alt}


def hover_map(
    places: np.ndarray, images: Tensor, names: Sequence[str], groups: np.ndarray, alt: str
) -> HoverMap:
    """Draw a map whose points show their images.

    Args:
        places: (N, 2), as `moving_map` returns them.
        images: uint8 (N, 3, H, W).
        names: what each image is called, (N,).
        groups: the name of each image's group, (N,).
        alt: what is seen, in words.
    """
    figure = Figure(figsize=(9.5, SIDE), dpi=100, facecolor="white")
    axis = figure.add_axes((0.01, 0.01, 0.98 * SIDE / 9.5, 0.98))
    draw_map(axis, places, groups, 36, 1.05 * np.abs(places).max())
    figure.legend(loc="center left", bbox_to_anchor=(0.77, 0.5), frameon=False, markerscale=1.5)
    canvas = FigureCanvasAgg(figure)
    png = io.BytesIO()
    canvas.print_png(png)
    pixels = axis.transData.transform(places) / canvas.get_width_height()
    spots = 100 * np.column_stack([pixels[:, 0], 1 - pixels[:, 1]])
    return HoverMap(_page(spots, png.getvalue(), images, names, alt), png.getvalue(), alt)


def _page(spots: np.ndarray, png: bytes, images: Tensor, names: Sequence[str], alt: str) -> str:
    """The picture and its spots, at these percentages of its width and height, as HTML."""
    sheet = _sheet(images)
    look = {
        "name": "map-" + hashlib.sha256(png).hexdigest()[:8],  # the page may have other maps
        "shown": SHOWN,
        "width": COLUMNS * SHOWN,
        "sheet": _link("webp", sheet),
    }
    parts = [f'<style>{STYLE.format(**look)}</style><div class="{look["name"]}">']
    parts.append(f'<img alt="{escape(alt)}" src="{_link("png", png)}">')
    for number, ((left, top), name) in enumerate(zip(spots, names, strict=True)):
        row, column = divmod(number, COLUMNS)
        tile = f"background-position:-{column * SHOWN}px -{row * SHOWN}px"
        place = f"left:{left:.2f}%;top:{top:.2f}%"
        parts.append(f'<span title="{escape(name)}" style="{place};{tile}"></span>')
    return "".join([*parts, "</div>"])


def _sheet(images: Tensor) -> bytes:
    """All images as tiles of one picture, WebP."""
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * TILE), "white")
    for number, image in enumerate(images):
        row, column = divmod(number, COLUMNS)
        tile = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        sheet.paste(tile.resize((TILE, TILE)), (column * TILE, row * TILE))
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=60, method=6)
    return file.getvalue()


def _link(kind: str, data: bytes) -> str:
    """The picture itself, in the form of an address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
