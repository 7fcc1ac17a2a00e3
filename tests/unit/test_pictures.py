"""Kinds of files that people have, each with the same picture: what an 8-bit, upright, opaque file
of it gives."""

import io
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin
from PIL.ExifTags import Base

from infomax_nb.data.decoding import decode_image
from infomax_nb.data.image_set import ImageFiles
from infomax_nb.errors import ParameterError


def colours(high: int = 24, wide: int = 37, seed: int = 0) -> np.ndarray:
    """A smooth picture (high, wide, 3), uint8, with pure black and pure white in it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8))
    rgb = np.array(coarse.resize((wide, high), Image.Resampling.BICUBIC))
    rgb[0, 0] = 0
    rgb[-1, -1] = 255
    return rgb


def grey() -> np.ndarray:
    return colours()[..., 0].copy()


def assert_shows(path, expected: np.ndarray, off: int = 1) -> None:
    got = np.asarray(decode_image(path)).astype(int)
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, 2)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= off


# --- Files written byte by byte ---

MAGIC = {"<": b"II", ">": b"MM"}  # of a TIFF, by its byte order


def packed_rows(rows: np.ndarray, bits: int) -> list[bytes]:
    """Each row's values of `bits` each, the highest bit first, filled up to whole bytes."""
    places = np.arange(bits - 1, -1, -1)
    packed = []
    for row in rows:
        ones = (row[:, None] >> places) & 1
        packed.append(np.packbits(ones).tobytes())
    return packed


def tiff_fields(values: np.ndarray, bits: int, photometric: int, deflate: bool) -> dict[int, int]:
    """The tags that a TIFF of one strip needs, without the strip's place and length."""
    return {
        256: values.shape[1],
        257: values.shape[0],
        258: bits,
        259: 8 if deflate else 1,
        262: photometric,
        277: values.shape[2] if values.ndim > 2 else 1,
        278: values.shape[0],
    }


def tiff(
    path, values: np.ndarray, bits: int, photometric: int, order: str = "<", deflate=False, **tags
) -> None:
    """A TIFF of one strip: values (H, W) or (H, W, C) of `bits` each, packed as the standard says.

    photometric: 0, white is zero; 1, black is zero; 2, RGB.
    """
    if bits in (16, 32):
        strip = values.astype(f"{order}u{bits // 8}").tobytes()
    else:
        strip = b"".join(packed_rows(values.reshape(len(values), -1), bits))
    if deflate:
        strip = zlib.compress(strip)
    fields = tiff_fields(values, bits, photometric, deflate)
    fields |= {int(name[1:]): value for name, value in tags.items()}
    channels = fields[277]
    more = b""
    if channels > 1:
        more = struct.pack(f"{order}{channels}H", *[bits] * channels)
    start = 8 + 2 + 12 * (len(fields) + 2) + 4  # of what lies behind the fields
    entries = {}
    for tag, value in fields.items():
        entries[tag] = struct.pack(f"{order}HHLHH", tag, 3, 1, value, 0)
    entries[273] = struct.pack(f"{order}HHLL", 273, 4, 1, start + len(more))
    entries[279] = struct.pack(f"{order}HHLL", 279, 4, 1, len(strip))
    if channels == 2:
        entries[258] = struct.pack(f"{order}HHL", 258, 3, 2) + more
    if channels > 2:
        entries[258] = struct.pack(f"{order}HHLL", 258, 3, channels, start)
    head = MAGIC[order] + struct.pack(f"{order}HLH", 42, 8, len(entries))
    body = b"".join(entries[tag] for tag in sorted(entries))
    path.write_bytes(head + body + bytes(4) + more + strip)


def chunk(name: bytes, body: bytes) -> bytes:
    """Part of a PNG."""
    sum_of_all = struct.pack(">L", zlib.crc32(name + body))
    return struct.pack(">L", len(body)) + name + body + sum_of_all


def png(path, values: np.ndarray, bits: int, kind: int, key=None, palette=b"", alphas=b"") -> None:
    """A PNG: values (H, W) or (H, W, C); kind 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA;
    `key` is tRNS's."""
    high, wide = values.shape[:2]
    rows = values.reshape(high, -1)
    lines = packed_rows(rows, bits)
    if bits == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    header = struct.pack(">LLBBBBB", wide, high, bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header)]
    if palette:
        parts.append(chunk(b"PLTE", palette))
    if key is not None:
        alphas = struct.pack(f">{np.size(key)}H", *np.ravel(key))
    if alphas:
        parts.append(chunk(b"tRNS", alphas))
    raw = b"".join(b"\0" + line for line in lines)
    parts.append(chunk(b"IDAT", zlib.compress(raw)))
    parts.append(chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


# --- Grey of other depths -------------------------------------------------------------------------


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_a_grey_tiff_of_any_depth_and_either_zero(tmp_path, bits, white_is_zero, order, deflate):
    path = tmp_path / "a.tif"
    most = 2**bits - 1
    values = np.rint(grey() / 255 * most).astype(np.uint32)
    seen = np.rint(values / most * 255).astype(np.uint8)
    assert seen.min() == 0
    assert seen.max() == 255
    stored = most - values if white_is_zero else values
    tiff(path, stored, bits, int(not white_is_zero), order, deflate)
    assert_shows(path, seen)
    if bits > 4:
        assert_shows(path, grey())


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_colour_tiff_of_16_bits(tmp_path, order):
    path = tmp_path / "a.tif"
    tiff(path, colours().astype(np.uint32) * 257, 16, 2, order)
    assert_shows(path, colours(), off=0)


KINDS = {"signed 8": (8, 2), "signed 16": (16, 2), "signed 32": (32, 2)}
KINDS |= {"unsigned 32": (32, 1), "floats": (32, 3)}


@pytest.mark.parametrize(("bits", "kind"), KINDS.values(), ids=KINDS.keys())
def test_a_tiff_whose_white_is_unknown_is_refused(tmp_path, bits, kind):
    """Signed and floating values, and 32 bits: nobody can say what is white."""
    path = tmp_path / "a.tif"
    tiff(path, grey().astype(np.uint32), bits, 1, t339=kind)
    with pytest.raises(ParameterError, match="a.tif cannot be used"):
        decode_image(path)


def test_a_tiff_of_colours_in_planes(tmp_path):
    """Pillow misreads those of 16 bits, without a word."""
    for bits in (8, 16):
        planes = np.moveaxis(colours(), -1, 0)
        planes = planes.astype(np.uint16) * 257 if bits == 16 else planes
        path = tmp_path / f"{bits}.tif"
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    assert_shows(tmp_path / "8.tif", colours(), off=0)
    with pytest.raises(ParameterError, match="16-bit colours one plane after the other"):
        decode_image(tmp_path / "16.tif")


@pytest.mark.parametrize("most", [100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("magic", ["P2", "P3", "P5", "P6"])
def test_a_pgm_or_ppm_of_any_white(tmp_path, magic, most):
    path = tmp_path / "a.pgm"
    rgb = colours() if magic in ("P3", "P6") else grey()
    values = np.rint(rgb / 255 * most).astype(int)
    head = f"{magic}\n{rgb.shape[1]} {rgb.shape[0]}\n{most}\n".encode()
    plain = " ".join(map(str, values.ravel())).encode()
    raw = values.astype(">u2" if most > 255 else "u1").tobytes()
    path.write_bytes(head + (plain if magic in ("P2", "P3") else raw))
    assert_shows(path, np.rint(values / most * 255).astype(np.uint8))


# --- Transparency ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_grey_png_with_a_transparent_value(tmp_path, bits):
    path = tmp_path / "a.png"
    most = 2**bits - 1
    values = np.rint(grey() / 255 * most).astype(int)
    opaque = np.rint(values / most * 255).astype(np.uint8)
    keys = {int(values.min()), int(np.median(values)), int(values[0, 5])}
    for key in keys:
        png(path, values, bits, 0, key)
        transparent = values == key
        assert transparent.any()
        assert_shows(path, np.where(transparent, 255, opaque))


def test_sixteen_bits_of_grey_decide_what_is_transparent(tmp_path):
    """Values that agree with the transparent one in their upper halves alone stay."""
    near = np.array([[0x1234, 0x1235, 0x12FF, 0x0034]])
    png(tmp_path / "grey.png", near, 16, 0, 0x1234)
    shown = np.asarray(decode_image(tmp_path / "grey.png"))
    assert shown[0, :, 0].tolist() == [255, 18, 19, 0]


def test_sixteen_bits_of_colour_have_a_transparent_one_of_which_upper_halves_count(tmp_path):
    """The lower halves, with which 8-bit pixels might be compared, belong to another colour."""
    key = np.array([0x1234, 0x5678, 0x9ABC])
    other = np.array([0x3400, 0x7800, 0xBC00])
    png(tmp_path / "a.png", np.array([[key, other]]), 16, 2, key)
    shown = np.asarray(decode_image(tmp_path / "a.png"))
    assert shown[0].tolist() == [[255, 255, 255], [0x34, 0x78, 0xBC]]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_png_with_a_transparent_colour(tmp_path, bits):
    path = tmp_path / "a.png"
    rgb = colours()
    key = np.array([10, 200, 77])
    rgb[3:9, 4:20] = key
    scale = 257 if bits == 16 else 1
    png(path, rgb.astype(int) * scale, bits, 2, key * scale)
    rgb[3:9, 4:20] = 255
    assert_shows(path, rgb, off=0)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [4, 6])
def test_a_png_with_alpha(tmp_path, kind, bits):
    path = tmp_path / "a.png"
    rgb = colours() if kind == 6 else grey()[..., None]
    alpha = colours(seed=1)[..., 0].astype(int)
    values = np.concatenate([rgb.astype(int), alpha[..., None]], -1)
    scale = 257 if bits == 16 else 1
    png(path, values * scale, bits, kind)
    share = alpha[..., None] / 255
    seen = np.rint(rgb * share + 255 * (1 - share))
    assert_shows(path, np.broadcast_to(seen, (*alpha.shape, 3)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_with_several_opacities(tmp_path, bits):
    path = tmp_path / "a.png"
    rng = np.random.default_rng(bits)
    table = rng.integers(0, 256, (2**bits, 3), np.uint8)
    alphas = rng.integers(0, 256, 2**bits - 1, np.uint8)  # those that are not said are opaque
    index = rng.integers(0, 2**bits, (20, 30))
    png(path, index, bits, 3, None, table.tobytes(), alphas.tobytes())
    share = np.append(alphas, 255)[index][..., None] / 255
    seen = table[index] * share + 255 * (1 - share)
    assert_shows(path, np.rint(seen))


@pytest.mark.parametrize("extra", [1, 2])
@pytest.mark.parametrize("photometric", [1, 2])
def test_a_tiff_with_alpha(tmp_path, photometric, extra):
    """extra: 1, the colours are multiplied by the opacity; 2, they are not."""
    path = tmp_path / "a.tif"
    rgb = colours() if photometric == 2 else grey()[..., None]
    rgb = rgb.astype(int)
    alpha = np.full((*rgb.shape[:2], 1), 255)
    alpha[:9, :12] = 0
    alpha[9:12] = 128
    stored = np.rint(rgb * alpha / 255).astype(int) if extra == 1 else rgb
    values = np.concatenate([stored, alpha], -1)
    tiff(path, values, 8, photometric, t338=extra)
    seen = np.rint(rgb * alpha / 255 + 255 - alpha)
    seen = np.broadcast_to(seen, colours().shape)
    assert_shows(path, seen, off=2 if extra == 1 else 1)


BEST: dict = {"quality": 100, "subsampling": 0}  # of a JPEG


# --- Colour ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["L", "RGB", "CMYK"])
def test_a_colour_profile_changes_nothing(tmp_path, kind):
    path = tmp_path / "a.jpg"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(colours()).convert(kind)
    image.save(path, icc_profile=profile, **BEST)
    expected = np.asarray(Image.fromarray(colours()).convert("L" if kind == "L" else "RGB"))
    assert_shows(path, expected, off=4)  # a JPEG's own


def test_cmyk(tmp_path):
    """Stored inverted by Adobe's programs in a JPEG, straight in a TIFF."""
    image = Image.fromarray(colours()).convert("CMYK")
    image.save(tmp_path / "a.jpg", **BEST)
    assert_shows(tmp_path / "a.jpg", colours(), off=4)
    image.save(tmp_path / "a.tif")
    assert_shows(tmp_path / "a.tif", colours())


# --- Several frames -------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["gif", "webp", "png", "tif", "mpo"])
def test_of_several_frames_it_is_the_first(tmp_path, end):
    path = tmp_path / f"a.{end}"
    first, second = (Image.fromarray(colours(seed=k)) for k in (0, 1))
    options = {"webp": {"lossless": True}, "mpo": BEST}.get(end, {})
    if end == "gif":
        first, second = (image.quantize(64) for image in (first, second))
    first.save(path, save_all=True, append_images=[second], **options)
    assert_shows(path, np.asarray(first.convert("RGB")), off=4 if end == "mpo" else 0)


# --- Upright --------------------------------------------------------------------------------------


TURNED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90,
}


@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize("end", ["png", "webp", "tif", "jpg"])
def test_every_orientation_in_every_format(tmp_path, end, turn):
    exif = Image.Exif()
    exif[Base.Orientation] = turn
    options = {"webp": {"lossless": True}, "jpg": BEST}.get(end, {})
    path = tmp_path / f"a.{end}"
    Image.fromarray(colours()).save(path, exif=exif, **options)
    assert_shows(path, TURNED[turn](colours()), off=4 if end == "jpg" else 0)


@pytest.mark.parametrize("bits", [1, 4, 8, 12, 16])
def test_a_grey_tiff_is_turned_too(tmp_path, bits):
    path = tmp_path / "a.tif"
    most = 2**bits - 1
    values = np.rint(grey() / 255 * most).astype(np.uint32)
    seen = np.rint(values / most * 255)
    for order in "<>":
        for black in (0, 1):  # the value that is black
            stored = values if black else most - values
            tiff(path, stored, bits, black, order, t274=6)
            assert_shows(path, np.rot90(seen, -1))


def with_exif(path, exif: bytes) -> None:
    saved = io.BytesIO()
    Image.fromarray(colours()).save(saved, "JPEG", exif=exif, **BEST)
    path.write_bytes(saved.getvalue())


def directory(order: str, *fields: bytes) -> bytes:
    head = MAGIC[order] + struct.pack(f"{order}HLH", 42, 8, len(fields))
    return b"Exif\0\0" + head + b"".join(fields) + bytes(4)


def field(order: str, tag: int, kind: int, count: int, value: int) -> bytes:
    if kind == 3 and count == 1:
        return struct.pack(f"{order}HHLHH", tag, kind, count, value, 0)
    return struct.pack(f"{order}HHLL", tag, kind, count, value)


UNUSUAL = {
    "make beyond the end": (0x010F, 2, 4000, 5000),
    "more text than there is": (0x010E, 2, 2**31, 60),
    "rational over nothing": (0x011A, 5, 1, 2**32 - 1),
    "unknown type": (0x010F, 99, 7, 1),
    "type and number that don't fit": (0x0132, 12, 3, 40),
    "directory nowhere": (0x8769, 4, 1, 99999),
    "directory that is text": (0x8769, 2, 4, 0x41424344),
    "directory in itself": (0x8769, 4, 1, 8),
    "place that is text": (0x8825, 2, 2, 0x41420000),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", UNUSUAL)
def test_a_rotated_photograph_with_an_unusual_field(tmp_path, kind, order):
    """The picture is whole, and it is upright, whatever else its camera has written."""
    path = tmp_path / "a.jpg"
    turn = field(order, Base.Orientation, 3, 1, 6)
    odd = field(order, *UNUSUAL[kind])
    # In the order of their numbers.
    fields = [odd, turn] if UNUSUAL[kind][0] < Base.Orientation else [turn, odd]
    with_exif(path, directory(order, *fields))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert_shows(path, np.rot90(colours(), -1), off=4)
    assert not said


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_that_there_is_not(tmp_path, value):
    path = tmp_path / "a.jpg"
    turn = field("<", Base.Orientation, 3, 1, value)
    with_exif(path, directory("<", turn))
    assert_shows(path, colours(), off=4)


NO_EXIF = [b"", b"Exif\0\0", b"Exif\0\0II", b"Exif\0\0XX\0\0\0\0\0\0"]
NO_EXIF += [b"II*\0\xff\xff\xff\xff"]


@pytest.mark.parametrize("exif", NO_EXIF)
def test_exif_that_is_none(tmp_path, exif):
    path = tmp_path / "a.jpg"
    with_exif(path, exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_shows(path, colours(), off=4)


def test_orientation_in_xmp_alone(tmp_path):
    path = tmp_path / "a.png"
    note = PngImagePlugin.PngInfo()
    xmp = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    note.add_itxt("XML:com.adobe.xmp", xmp)
    Image.fromarray(colours()).save(path, pnginfo=note)
    assert_shows(path, np.rot90(colours(), -1), off=0)


# --- Large ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [9_600, 13_500])
def test_a_picture_of_any_size(tmp_path, side):
    """Black above white, one bit a pixel; in silence.

    These are 92 and 182 megapixels: Pillow would warn, and refuse.
    """
    rows = np.zeros((side, side), bool)
    rows[side // 2 :] = True
    Image.fromarray(rows).save(tmp_path / "large.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = ImageFiles(np.array([str(tmp_path / "large.png")], object), 8)[:]
    assert got[0, :, :3].unique().tolist() == [0]
    assert got[0, :, 5:].unique().tolist() == [255]


def test_a_long_caption(tmp_path):
    """Programs that make pictures write megabytes about how."""
    path = tmp_path / "a.png"
    note = PngImagePlugin.PngInfo()
    note.add_text("workflow", "node " * 2**19, zip=True)
    Image.fromarray(colours()).save(path, pnginfo=note)
    assert_shows(path, colours(), off=0)


def test_a_name_in_latin_1_is_told_in_unicode(tmp_path):
    path = bytes(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(b"no image")
    with pytest.raises(ParameterError, match=re.escape("café.png cannot be used")) as error:
        decode_image(path.decode("utf-8", "surrogateescape"))
    str(error.value).encode()
