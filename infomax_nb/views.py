"""Views of images, a batch at a time on the images' own device, as torchvision makes them from Pillow images.

All random numbers of a batch are drawn in one call. Cropping and resizing is separable: per-sample weight matrices
(Pillow's antialiased bicubic) and two batched matrix products. The colour operations follow Pillow's 8-bit
arithmetic, so for the same drawn parameters the pixels agree with torchvision's on Pillow images.
"""

from dataclasses import dataclass

import torch

from .kernels.pixels import IMAGENET_MEAN, IMAGENET_STD, colour, crop, draw, normalise  # noqa: F401

_CACHED = 3 * 2**16  # numbers of one view's pixels that are worked on at a time: 0.75 MiB, less than the L2 cache holds
LOCAL_FROM = 64  # pixels of the images from which DINO has local views


@dataclass(frozen=True)
class View:
    """How one view is drawn; the defaults are lightly's `DINOViewTransform`'s. Probabilities in 0..1.

    size: pixels of the square view. area: range of the crop's share of the image. ratio: range of width / height.
    jitter: strengths of brightness, contrast, saturation (factors in 1 ± s) and hue (turns in ± s).
    sigma: range of the blur's standard deviation, pixels. kernel: of the resizing, `bicubic` or `bilinear`.
    solarize_first: before the blur, as VICReg has it, not after.
    """

    size: int
    area: tuple[float, float]
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_p: float = 0.8
    gray_p: float = 0.2
    blur_p: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    solarize_p: float = 0.0
    kernel: str = "bicubic"
    solarize_first: bool = False


def from_lightly(name: str, *parts, **options) -> list[View]:
    """The views that one of lightly's transforms draws (`SimCLRTransform`, ...), read from its own objects.

    `parts`, `options`: what the transform is made with.
    """
    from lightly import transforms

    made = []
    for view in getattr(transforms, name)(*parts, **options).transforms:
        part = {type(t).__name__: t for t in view.transform.transforms}
        crop, blur, solarize = part["RandomResizedCrop"], part["GaussianBlur"], part.get("RandomSolarization")
        apply, jitter = part["RandomApply"], part["RandomApply"].transforms[0]
        strengths = [round(getattr(jitter, n)[1] - 1, 6) for n in ("brightness", "contrast", "saturation")]
        shape = (crop.size[0], tuple(crop.scale), tuple(crop.ratio), part["RandomHorizontalFlip"].p)
        colours = ((*strengths, jitter.hue[1]), apply.p, part["RandomGrayscale"].p, blur.prob, tuple(blur.sigmas))
        order, kernel = list(part.values()), getattr(crop.interpolation, "value", crop.interpolation)
        swapped = solarize is not None and order.index(solarize) < order.index(blur)
        made.append(View(*shape, *colours, solarize.prob if solarize else 0.0, kernel, swapped))  # type: ignore[arg-type]
    return made


def local_size(size: int) -> int:
    """Pixels of the local views: 32 → 16, 64 → 32, 96 → 48, 224 → 96."""
    return 96 if size == 224 else size // 2


def dino_views(size: int, **options) -> list[View]:
    """The paper's two global (40 to 100% of the area) and six local views (5 to 40%), Section 3; blur from 96 px.

    `options` of lightly's `DINOTransform` change them.
    """
    blur = (1.0, 0.1, 0.5) if size >= 96 else (0.0, 0.0, 0.0)
    usual = {"global_crop_size": size, "local_crop_size": local_size(size), "gaussian_blur": blur}
    return from_lightly("DINOTransform", **usual | options)


def supervised_views(size: int) -> list[View]:
    """One view: torchvision's RandomResizedCrop (8 to 100%) and a flip."""
    return [View(size, (0.08, 1.0), jitter_p=0.0, gray_p=0.0, kernel="bilinear")]


class Views:
    """Callable: uint8 images (B, 3, H, W) to a list of V normalised float32 views (B, 3, size, size), channels last.

    Args:
        views: what to draw; views of one size are made together.
        rows: images that share one order of the jitter operations; every other number is drawn per sample. Images
            come shuffled, so each one's order is uniform over the 24 and independent of its own other numbers.
    """

    def __init__(self, views: list[View], rows: int = 128):
        self.views, self.rows = list(views), rows
        alike = [(v.size, v.kernel, v.solarize_first) for v in self.views]
        self.groups = {key: [i for i, other in enumerate(alike) if other == key] for key in alike}
        self.coloured = any(v.jitter_p or v.gray_p or v.blur_p or v.solarize_p for v in self.views)

    def __call__(self, images: torch.Tensor, generator: torch.Generator, first: int = 0, of: int | None = None):
        """Draw with `generator`, on the CPU so that every device makes the same views, and make them.

        The images may be a share of a batch of `of`, from its image number `first` on: they get the views that they
        would get in the whole batch.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images are {images.dtype} {tuple(images.shape)}: they must be uint8 (B, 3, H, W).")
        (batch, _, height, width), layout = images.shape, torch.channels_last
        drawn = draw(self.views, of or batch, height, width, generator)
        drawn["order"] = drawn["order"][:, torch.arange(of or batch) // self.rows * self.rows]
        drawn = {name: t[:, first : first + batch] for name, t in drawn.items()}
        out = [torch.empty(batch, 3, v.size, v.size, device=images.device, memory_format=layout) for v in self.views]
        for (size, kernel, solarize_first), members in self.groups.items():
            step = self.rows if images.is_cuda else max(1, min(self.rows, _CACHED // (3 * size**2)))
            edges = [0, *range(self.rows - first % self.rows, batch, self.rows), batch]
            blocks = [range(a, b, step) for a, b in zip(edges, edges[1:], strict=False)]
            for i in [slice(s, min(s + step, block.stop)) for block in blocks for s in block]:
                x = crop(images[i], {name: t[members, i] for name, t in drawn.items()}, size, kernel)
                for view, piece in zip(members, x.unbind(1), strict=True):
                    if self.coloured:
                        piece = colour(piece, {name: t[view, i] for name, t in drawn.items()}, solarize_first)
                    out[view][i] = normalise(piece).transpose(0, 1)
        return out
