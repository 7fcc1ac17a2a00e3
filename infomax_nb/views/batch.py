"""Make views of images, a batch at a time, on the images' own device.

All random numbers of an epoch are drawn at once. Cropping and resizing are separable: per-sample
weight matrices (Pillow's antialiased bicubic) and two batched matrix products. The colour
operations follow Pillow's 8-bit arithmetic. So for the same numbers the pixels agree with those
that torchvision makes from Pillow images.
"""

from itertools import groupby

import torch
from torch import Tensor

from infomax_nb.device import host_may_look
from infomax_nb.views import colours, masked
from infomax_nb.views.drawing import draw
from infomax_nb.views.pixels import crop, standardise
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
        specs: how each view is drawn; neighbours of one size are made together.
    """

    def __init__(self, specs: list[ViewSpec]):
        self.specs = list(specs)
        self.jitters = any(spec.jitter_p for spec in specs)
        self.greys = any(spec.gray_p for spec in specs)
        self.layouts: dict[tuple[int, torch.device], masked.Layout] = {}
        self.groups: list[_Group] = []
        first = 0
        for _, neighbours in groupby(self.specs, key=_kind):
            group = _Group(list(neighbours), first)
            self.groups.append(group)
            first = group.members.stop

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

        On a GPU nothing here waits for it, if the numbers are there, too.

        Raises:
            ValueError: the images are not uint8 of this shape.
        """
        _check_images(images)
        here = {name: x.to(images.device, non_blocking=True) for name, x in numbers.items()}
        if "radius" not in here:
            here["radius"] = colours.box_radius(here["sigma"])
        if host_may_look(images):
            return [view for group in self.groups for view in self._picked(group, images, here)]
        return self._masked(images, here)

    def _picked(self, group: "_Group", images: Tensor, numbers: dict[str, Tensor]):
        """The views of a group, of as many images at a time as a CPU's cache has room for."""
        own = {name: x[group.members] for name, x in numbers.items()}
        shape = (len(own["top"]), len(images), group.size, group.size, 3)
        at_once = max(1, _AT_ONCE // (3 * shape[0] * group.size**2))
        views = torch.empty(shape, device=images.device)
        for start in range(0, len(images), at_once):
            rows = slice(start, start + at_once)
            part = {name: x[:, rows] for name, x in own.items()}
            pixels = crop(images[rows], part, group.size, group.kernel)
            each = {name: x.flatten() for name, x in part.items()}
            x = pixels.flatten(1, 2)
            if self.jitters:
                x = colours.jitter(x, each)
            if self.greys:
                x = colours.change_where(each["gray"], x, colours.grey)
            x = group.finish(x, each)
            views[:, rows] = standardise(x).view(pixels.shape).permute(1, 2, 3, 4, 0)
        return views.permute(0, 1, 4, 2, 3).unbind()

    def _masked(self, images: Tensor, numbers: dict[str, Tensor]) -> list[Tensor]:
        """All views together; no shape and no order of work depends on the numbers."""
        parts = []
        for group in self.groups:
            own = {name: x[group.members] for name, x in numbers.items()}
            parts.append(crop(images, own, group.size, group.kernel))
        layout = self._layout(len(images), images.device)
        x = torch.cat([part.flatten(1) for part in parts], 1)
        each = {name: every.flatten() for name, every in numbers.items()}
        if self.jitters:
            x = masked.jitter(x, each, layout)
        if self.greys:
            x = masked.grey(x, each, layout)
        views: list[Tensor] = []
        for group, part in zip(self.groups, layout.images(x), strict=True):
            own = {name: every[group.members].flatten() for name, every in numbers.items()}
            finished = standardise(group.finish(part, own))
            shape = (3, -1, len(images), group.size, group.size)
            alike = finished.view(shape).permute(1, 2, 3, 4, 0).contiguous()
            views += alike.permute(0, 1, 4, 2, 3).unbind()
        return views

    def _layout(self, batch: int, device: torch.device) -> masked.Layout:
        """Where the pixels of this many images' views lie."""
        key = (batch, device)
        if key not in self.layouts:
            sizes = [(batch * group.count, group.size) for group in self.groups]
            self.layouts[key] = masked.Layout(sizes, device)
        return self.layouts[key]


class _Group:
    """Neighbouring views that are cropped together, from the one of this number on."""

    def __init__(self, specs: list[ViewSpec], first: int):
        self.count = len(specs)
        self.members = slice(first, first + self.count)
        self.size = specs[0].size
        self.kernel = specs[0].kernel
        self.finish = colours.Finish(specs)


def _kind(spec: ViewSpec) -> tuple[int, str, bool]:
    """What views that are made together have in common."""
    return spec.size, spec.kernel, spec.solarize_first


def _check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        given = f"images are {images.dtype} {tuple(images.shape)}"
        raise ValueError(f"{given}: they must be uint8 (B, 3, H, W).")
