"""Decode one image from a file, as a viewer shows it: upright, on white, 8 bits a channel."""

import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, PngImagePlugin
from PIL import TiffImagePlugin as Tiff
from PIL.ExifTags import Base

from infomax_nb.errors import file_errors

# Files are the user's own. Pillow's guards against hostile uploads would refuse large scans and
# long captions.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**31 - 1

# Grey TIFFs that Pillow decodes only in the other byte order or with black as zero. `_grey` turns
# them round.
for _order in (b"II", b"MM"):
    for _zero in (0, 1):
        Tiff.OPEN_INFO.setdefault((_order, _zero, (1,), 1, (12,), ()), ("I;16", "I;12"))
Tiff.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))

_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def decode_image(
    path: str | Path,
    least: tuple[int, int] | None = None,
    parameter: str = "data_root",
    cure: str = " `damaged: skip` leaves it out.",
) -> Image.Image:
    """The image in a file, RGB, as a viewer shows it.

    It is upright (EXIF), with white behind transparent parts. Of several frames it is the first.
    Grey values of 12 and 16 bits are scaled to 8. Colour profiles are not applied.

    Args:
        path: the file.
        least: width and height in pixels. A larger JPEG may be decoded at 1/2, 1/4 or 1/8 of its
            size, which is fast, but not below `least`.
        parameter: the parameter that led to the file; errors begin with it.
        cure: errors' last sentence, with a leading space.

    Raises:
        ParameterError: the file is damaged, or has floats, signed or 32-bit values, or is a
            TIFF of 16-bit colours in planes. The error names it.
    """
    _silence_metadata()
    with file_errors(path, parameter, cure=cure):
        with Image.open(path) as whole:
            whole.verify()  # decoding ignores a PNG's check sums
        with Image.open(path) as image:
            # Prevents a memory map: with one, Pillow takes a turned TIFF's width for its height.
            image.filename = ""
            _refuse_unknown_white(image)
            layout = str(image.tile[0].args) if image.format == "PNG" else ""  # gone after `load`
            image.draft(None, least)
            image.load()
            shown = _on_white(_with_alpha(image, layout))
            shown.info.clear()  # including EXIF, which may be damaged
            shown.getexif()[Base.Orientation] = orientation(image)
            ImageOps.exif_transpose(shown, in_place=True)
            return shown


def _silence_metadata() -> None:
    """Keep Pillow's warnings about metadata that nobody reads out of a notebook's output."""
    if warnings.filters[:1] != [_QUIET]:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _refuse_unknown_white(image: ImageFile.ImageFile) -> None:
    """Raise ValueError for values of which the white one is unknown."""
    sixteen_bit_pgm = image.mode == "I" and image.format == "PPM"
    if image.mode in ("F", "I") and not sixteen_bit_pgm:
        raise ValueError(f"it has mode {image.mode}, not 8 or 16 bits a channel")
    if not isinstance(image, Tiff.TiffImageFile):
        return
    tags = image.tag_v2
    if 2 in tags.get(Tiff.SAMPLEFORMAT, ()):
        raise ValueError("it has signed values, whose black and white are unknown")
    if tags.get(Tiff.PLANAR_CONFIGURATION) == 2 and 16 in tags.get(Tiff.BITSPERSAMPLE, ()):
        raise ValueError("it has 16-bit colours one plane after the other, which Pillow misreads")


def _with_alpha(image: ImageFile.ImageFile, layout: str) -> Image.Image:
    """The decoded image with 8 bits a channel and the transparency that Pillow ignores.

    layout: a PNG's, in Pillow's words: "L;2", "RGB", ...
    """
    key = image.info.get("transparency")
    if image.mode.startswith("I"):
        shown = _grey(image)
        if key is not None:
            alpha = np.where(np.asarray(image) == key, 0, 255).astype(np.uint8)
            shown.putalpha(Image.fromarray(alpha))
        return shown
    if image.mode == "La":
        return image.convert("LA")
    if key is not None and layout in ("L;2", "L;4"):
        # Pillow scales the pixels to 255, but not the transparent value.
        most = 2 ** int(layout[-1]) - 1
        image.info["transparency"] = (key & most) * 255 // most
    if key is not None and layout == "RGB;16B":  # of pixels it keeps the upper bytes alone
        image.info["transparency"] = tuple(value >> 8 for value in key)
    return image


def _grey(image: ImageFile.ImageFile) -> Image.Image:
    """More than 8 bits of grey, scaled to 8."""
    tags = image.tag_v2 if isinstance(image, Tiff.TiffImageFile) else {}
    white = 4095 if tags.get(Tiff.BITSPERSAMPLE) == (12,) else 65535
    table = np.rint(np.arange(white + 1) * 255 / white).astype(np.uint8)
    if tags.get(Tiff.PHOTOMETRIC_INTERPRETATION) == 0:  # white is zero
        table = table[::-1]
    return Image.fromarray(table[np.asarray(image)])


def _on_white(image: Image.Image) -> Image.Image:
    """The image in RGB, with white behind transparent parts."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def orientation(image: ImageFile.ImageFile) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, if there is none that can be read."""
    try:
        return image.getexif().get(Base.Orientation, 1)
    except Exception:  # a dozen kinds; damaged metadata does not make a damaged image
        return 1
