"""Views of images, a batch at a time on the images' own device, as torchvision makes them from Pillow images.

All random numbers of an epoch are drawn at once. Cropping and resizing is separable: per-sample weight matrices
(Pillow's antialiased bicubic) and two batched matrix products. The colour operations follow Pillow's 8-bit
arithmetic, so for the same drawn parameters the pixels agree with torchvision's on Pillow images.

`RECIPE` is the version of all this. With 1, numbers were drawn batch by batch, and 128 images shared one order of the
jitter operations.
"""

from dataclasses import dataclass

import torch

from .kernels.pixels import IMAGENET_MEAN, IMAGENET_STD, colour, crop, draw, normalise  # noqa: F401

_AT_ONCE = 2**20  # numbers of pixels that a CPU works on at a time: 4 MiB
RECIPE = 2
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

    A call draws with a generator; `draw` and `make` do the two steps apart. Each number is drawn per sample and view.

    Args:
        views: what to draw; views of one size are made together.
    """

    def __init__(self, views: list[View]):
        self.views = list(views)
        alike = [(v.size, v.kernel, v.solarize_first) for v in self.views]
        self.groups = {key: [i for i, other in enumerate(alike) if other == key] for key in alike}
        self.coloured = any(v.jitter_p or v.gray_p or v.blur_p or v.solarize_p for v in self.views)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """Draw with `generator`, on the CPU so that every device makes the same views, and make them."""
        _check_images(images)
        height, width = images.shape[2:]
        return self.make(images, self.draw(len(images), height, width, generator))

    def draw(self, images: int, height: int, width: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """What is random about the views of so many images of height x width pixels, tensors (V, images).

        See `kernels.pixels.draw`.
        """
        return draw(self.views, images, height, width, generator)

    def make(self, images: torch.Tensor, drawn: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """The views of images (B, 3, H, W) with what was drawn for them, tensors (V, B).

        ValueError for images that are not uint8 of this shape.
        """
        _check_images(images)
        out: list[torch.Tensor] = [torch.empty(0)] * len(self.views)
        for group, members in self.groups.items():
            of_group = {name: numbers[members] for name, numbers in drawn.items()}
            made = self._alike(images, of_group, *group, max(self.views[v].sigma[1] for v in members))
            for v, view in zip(members, made, strict=True):
                out[v] = view
        return out

    def _alike(self, images, drawn, size: int, kernel: str, solarize_first: bool, sigma: float):
        """Views of one size: a tensor (V, B, 3, size, size), the channels last in memory."""
        n_views, batch = drawn["top"].shape
        out = torch.empty(n_views, batch, size, size, 3, device=images.device)
        at_once = batch if images.is_cuda else max(1, _AT_ONCE // (3 * n_views * size**2))
        for start in range(0, batch, at_once):
            rows = slice(start, start + at_once)
            own = {name: numbers[:, rows] for name, numbers in drawn.items()}
            pixels = crop(images[rows], own, size, kernel)
            if self.coloured:
                alone = {name: numbers.flatten() for name, numbers in own.items()}
                colour(pixels.flatten(1, 2), alone, sigma, solarize_first)
            out[:, rows] = normalise(pixels).permute(1, 2, 3, 4, 0)
        return out.permute(0, 1, 4, 2, 3)


def _check_images(images: torch.Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}: they must be uint8 (B, 3, H, W).")
