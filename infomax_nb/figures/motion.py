"""Films in notebooks: animated pictures that play from stored outputs, without a kernel."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from infomax_nb.errors import ParameterError, not_allowed

LARGEST = 1_500_000  # bytes of a film
QUALITY = 60  # of WebP, 0 to 100


@dataclass(frozen=True, repr=False)
class Film:
    """An animated WebP with its last frame as a PNG, for readers that show no films.

    As a cell's value it is shown by JupyterLab and by the site, from stored outputs and without
    scripts. Where a reader's system asks for less motion, the site shows the still.

    Args:
        webp: the film's bytes.
        still: the last frame, PNG.
        alt: what is seen, in words.
    """

    webp: bytes
    still: bytes
    alt: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        film = base64.b64encode(self.webp).decode()
        still = base64.b64encode(self.still).decode()
        picture = f'<img class="film" alt="{escape(self.alt)}" src="data:image/webp;base64,{film}">'
        return {"text/html": picture, "image/png": still, "text/plain": self.alt}


def film(
    draw: Callable[[Figure, int], None],
    frames: int,
    alt: str,
    seconds: float = 0.15,
    hold: float = 1.5,
    size: tuple[float, float] = (9.5, 4.5),
) -> Film:
    """Draw the frames of a film and join them; it begins anew when it has ended.

    Args:
        draw: draws frame k, from 0, on an empty figure.
        frames: the number of frames, at least 2.
        alt: what is seen, in words, for those who can't see it.
        seconds: how long a frame is shown.
        hold: how long the last frame is shown, seconds.
        size: width and height in inches of 100 pixels.

    Raises:
        ParameterError: there are fewer than two frames, `alt` is empty, or the film would be
            larger than 1.5 MB.
    """
    if frames < 2:
        raise not_allowed("frames", frames, "at least 2")
    if not alt.strip():
        raise not_allowed("alt", alt, "a text that says what is seen")
    images = [_frame(draw, number, size) for number in range(frames)]
    durations = [round(1000 * seconds)] * (frames - 1) + [round(1000 * hold)]
    webp = io.BytesIO()
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": images[1:],
        "duration": durations,
        "loop": 0,
    }
    images[0].save(webp, "WEBP", quality=QUALITY, method=4, minimize_size=True, **options)
    if webp.tell() > LARGEST:
        megabytes = webp.tell() / 1e6
        raise ParameterError(f"The film has {megabytes:.1f} MB: at most 1.5 MB are allowed.")
    still = io.BytesIO()
    images[-1].save(still, "PNG", optimize=True)
    return Film(webp.getvalue(), still.getvalue(), alt)


def _frame(draw: Callable[[Figure, int], None], number: int, size: tuple[float, float]):
    """Frame `number` as an RGB image."""
    figure = Figure(figsize=size, dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    draw(figure, number)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
