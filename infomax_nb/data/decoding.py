"""One picture from one file, as a viewer shows it: upright, on white, 8 bits a channel, whatever
the file holds."""

import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from infomax_nb.errors import file_errors

# A folder is its owner's: Pillow's guards against hostile uploads would refuse large scans and long
# captions.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**31 - 1

# Grey TIFFs that Pillow decodes, but only in the other byte order or with black as zero: `_grey`
# turns them round.
for _order in (b"II", b"MM"):
    for _zero in (0, 1):
        TiffImagePlugin.OPEN_INFO.setdefault((_order, _zero, (1,), 1, (12,), ()), ("I;16", "I;12"))
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))
BITS, PHOTOMETRIC, ORIENTATION, PLANES, SAMPLE_FORMAT = 258, 262, 274, 284, 339  # TIFF's tags

_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def decode_image(path: str | Path, least: tuple[int, int] | None = None) -> Image.Image:
    """The image in a file, RGB, as a viewer shows it: upright (EXIF), white behind what is
    transparent.

    Grey values of 12 and 16 bits are scaled to 8; of several frames it is the first. Colour
    profiles are not applied. A JPEG larger than `least` (width, height) may come at 1/2, 1/4 or 1/8
    of its size, not below `least`: that is fast.

    Raises ParameterError, which names the file, for a damaged one, or one of floats, signed or
    32-bit values, or a TIFF of 16-bit colours in planes.
    """
    _hush()
    with file_errors(path, cure=" `damaged: skip` leaves it out."):
        with Image.open(path) as whole:
            whole.verify()  # decoding ignores a PNG's check sums
        with Image.open(path) as image:
            image.filename = (
                ""  # no memory map: Pillow's takes a turned TIFF's width for its height
            )
            _refuse_unknown_white(image)
            layout = str(image.tile[0].args) if image.format == "PNG" else None  # gone after `load`
            image.draft(None, least)
            image.load()
            shown = _on_white(_with_alpha(image, layout))
            shown.info.clear()  # and all other remarks with it
            shown.getexif()[ORIENTATION] = _orientation(image)
            ImageOps.exif_transpose(shown, in_place=True)
            return shown


def _hush() -> None:
    """What Pillow has to say about metadata that nobody reads does not belong in a notebook's
    output."""
    if warnings.filters[:1] != [_QUIET]:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _refuse_unknown_white(image: ImageFile.ImageFile) -> None:
    """ValueError for values of which nobody can say which one is white."""
    if (
        image.mode == "F" or image.mode == "I" and image.format != "PPM"
    ):  # PGM's 16 bits have mode I
        raise ValueError(f"it has mode {image.mode}, not 8 or 16 bits a channel")
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    if 2 in image.tag_v2.get(SAMPLE_FORMAT, ()):
        raise ValueError("it has signed values, whose black and white are unknown")
    if _first_of(image, PLANES) == 2 and _first_of(image, BITS) == 16:
        raise ValueError("it has 16-bit colours one plane after the other, which Pillow misreads")


def _first_of(image: TiffImagePlugin.TiffImageFile, tag: int) -> int | None:
    """The value of a tag, the first one of several, None if there is none."""
    values = image.tag_v2.get(tag)
    return values[0] if isinstance(values, tuple) else values


def _with_alpha(image: ImageFile.ImageFile, layout: str | None) -> Image.Image:
    """The decoded image in a mode of 8 bits a channel, with the transparency that Pillow leaves in
    `info`, or loses.

    layout: a PNG's, as Pillow calls it: "L;2", "RGB", ...
    """
    key = image.info.get("transparency")
    if image.mode[0] == "I":
        shown = _grey(image)
        if key is not None:
            shown.putalpha(
                Image.fromarray(np.where(np.asarray(image) == key, 0, 255).astype(np.uint8))
            )
        return shown
    if image.mode == "La":
        return image.convert("LA")
    if key is not None and layout in (
        "L;2",
        "L;4",
    ):  # Pillow scales the pixels to 255, but not the key
        most = 2 ** int(layout[-1]) - 1
        image.info["transparency"] = (key & most) * 255 // most
    return image


def _grey(image: ImageFile.ImageFile) -> Image.Image:
    """More than 8 bits of grey, scaled to 8."""
    white, white_is_zero = 65535, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        white = 4095 if image.tag_v2.get(BITS) == (12,) else 65535
        white_is_zero = image.tag_v2.get(PHOTOMETRIC) == 0
    table = np.rint(np.arange(white + 1) * 255 / white).astype(np.uint8)
    return Image.fromarray((table[::-1] if white_is_zero else table)[np.asarray(image)])


def _on_white(image: Image.Image) -> Image.Image:
    """RGB, white behind what is transparent."""
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _orientation(image: ImageFile.ImageFile) -> int:
    """1 to 8 as EXIF counts, 1 for upright, and where nothing readable is said."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # a dozen kinds; a damaged remark is no damaged picture
        return 1
