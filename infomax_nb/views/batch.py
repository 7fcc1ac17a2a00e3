"""Make views of images, a batch at a time, on the images' own device.

All random numbers of an epoch are drawn at once. Cropping and resizing are separable: per-sample
weight matrices (Pillow's antialiased bicubic) and two batched matrix products. The colour
operations follow Pillow's 8-bit arithmetic. So for the same numbers the pixels agree with those
that torchvision makes from Pillow images.
"""

import torch
from torch import Tensor

from infomax_nb.views.drawing import draw
from infomax_nb.views.pixels import colour, crop, standardise
from infomax_nb.views.specification import ViewSpec

# The version of how views are drawn. In version 1 numbers were drawn batch by batch, and 128 images
# shared one order of the jitter operations.
RECIPE = 2
_AT_ONCE = 2**20  # pixels' values that a CPU works on at a time: 4 MiB


class MultiView:
    """Callable that turns uint8 images (B, 3, H, W) into a list of V normalised float32 views.

    A view is (B, 3, size, size), channels last. A call draws the random numbers with a generator
    and makes the views; `draw` and `make` do one of these two steps each. Each number is drawn per
    sample and view.

    Args:
        specs: how each view is drawn; views of one size are made together.
    """

    def __init__(self, specs: list[ViewSpec]):
        self.specs = list(specs)
        self.groups: dict[tuple[int, str, bool], list[int]] = {}
        for k, spec in enumerate(self.specs):
            alike = (spec.size, spec.kernel, spec.solarize_first)
            self.groups.setdefault(alike, []).append(k)

    def __call__(self, images: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Draw and make the views of images (B, 3, H, W)."""
        _check_images(images)
        height, width = images.shape[2:]
        return self.make(images, self.draw(len(images), height, width, generator))

    def draw(self, images: int, height: int, width: int, generator) -> dict[str, Tensor]:
        """Draw the random numbers for views of this many images of height x width pixels.

        Returns tensors (V, images) by name, as `drawing.draw` does.
        """
        return draw(self.specs, images, height, width, generator)

    def make(self, images: Tensor, numbers: dict[str, Tensor]) -> list[Tensor]:
        """Make the views of images (B, 3, H, W) from the numbers, tensors (V, B), drawn for them.

        Raises:
            ValueError: the images are not uint8 of this shape.
        """
        _check_images(images)
        views: list[Tensor] = [torch.empty(0)] * len(self.specs)
        for (size, kernel, solarize_first), members in self.groups.items():
            own = {name: x[members] for name, x in numbers.items()}
            alike = torch.empty(len(members), len(images), size, size, 3, device=images.device)
            at_once = len(images)
            if not images.is_cuda:
                at_once = max(1, _AT_ONCE // (3 * len(members) * size**2))
            softest = max(self.specs[k].sigma[1] for k in members)
            for start in range(0, len(images), at_once):
                rows = slice(start, start + at_once)
                part = {name: x[:, rows] for name, x in own.items()}
                pixels = crop(images[rows], part, size, kernel)
                alone = {name: x.flatten() for name, x in part.items()}
                colour(pixels.flatten(1, 2), alone, softest, solarize_first)
                alike[:, rows] = standardise(pixels).permute(1, 2, 3, 4, 0)
            for k, view in zip(members, alike.permute(0, 1, 4, 2, 3), strict=True):
                views[k] = view
        return views


def _check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        given = f"images are {images.dtype} {tuple(images.shape)}"
        raise ValueError(f"{given}: they must be uint8 (B, 3, H, W).")
