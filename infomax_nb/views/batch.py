"""Views of images, a batch at a time on the images' own device, as torchvision makes them from
Pillow images.

All random numbers of an epoch are drawn at once. Cropping and resizing is separable: per-sample
weight matrices (Pillow's antialiased bicubic) and two batched matrix products. The colour
operations follow Pillow's 8-bit arithmetic, so for the same drawn parameters the pixels agree with
torchvision's on Pillow images.

`RECIPE` is the version of all this. With 1, numbers were drawn batch by batch, and 128 images
shared one order of the jitter operations.
"""

import torch

from infomax_nb.views.drawing import draw
from infomax_nb.views.pixels import colour, crop, standardise
from infomax_nb.views.specification import ViewSpec

_AT_ONCE = 2**20  # numbers of pixels that a CPU works on at a time: 4 MiB


RECIPE = 2


class MultiView:
    """Callable: uint8 images (B, 3, H, W) to a list of V normalised float32 views (B, 3, size,
    size), channels last.

    A call draws with a generator; `draw` and `make` do the two steps apart. Each number is drawn
    per sample and view.

    Args:
        views: what to draw; views of one size are made together.
    """

    def __init__(self, views: list[ViewSpec]):
        self.views = list(views)
        alike = [(v.size, v.kernel, v.solarize_first) for v in self.views]
        self.groups = {key: [i for i, other in enumerate(alike) if other == key] for key in alike}
        self.coloured = any(v.jitter_p or v.gray_p or v.blur_p or v.solarize_p for v in self.views)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """Draw with `generator`, on the CPU so that every device makes the same views, and make
        them."""
        _check_images(images)
        height, width = images.shape[2:]
        return self.make(images, self.draw(len(images), height, width, generator))

    def draw(
        self, images: int, height: int, width: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """What is random about the views of so many images of height x width pixels, tensors (V,
        images).

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
            made = self._alike(
                images, of_group, *group, max(self.views[v].sigma[1] for v in members)
            )
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
            out[:, rows] = standardise(pixels).permute(1, 2, 3, 4, 0)
        return out.permute(0, 1, 4, 2, 3)


def _check_images(images: torch.Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images are {images.dtype} {tuple(images.shape)}: they must be uint8 (B, 3, H, W)."
        )
