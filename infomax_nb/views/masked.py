"""The colour operations without a look at what was drawn: every sample gets all, a mask chooses.

This is for a GPU, whose host would have to wait for the samples' numbers, and for torch's
compiler. The pixels are those of `colours`. Views of all sizes are coloured together, as a GPU
takes the same time for small operations as for larger ones: their pixels lie one after another,
(3, P).
"""

import torch
from torch import Tensor

from infomax_nb.device import DeviceConstant
from infomax_nb.views import colours

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(len(colours.JITTER))
# Every order of the four operations is a subsequence of these passes. Contrast and hue, which take
# longest, come least often. An operation that is not due has the factor 1, which changes nothing.
_TWICE = (_BRIGHTNESS, _SATURATION, _BRIGHTNESS)
_AROUND_HUE = (*_TWICE, _CONTRAST, *_TWICE)
_PASSES = (*_AROUND_HUE, _HUE, *_AROUND_HUE)
_NOT_DUE = len(colours.JITTER)  # the index of the factor 1, behind those of the operations


class Layout:
    """Where the pixels of images of several sizes lie.

    Args:
        sizes: (images, pixels of a side) of each size.
        device: of the pixels.
    """

    def __init__(self, sizes: list[tuple[int, int]], device: torch.device):
        self.sizes = sizes
        self.lengths = [n * side**2 for n, side in sizes]
        owners = []
        first = 0
        for n, side in sizes:
            own = torch.arange(first, first + n, dtype=torch.int32, device=device)
            owners.append(own[:, None].expand(n, side**2).flatten())
            first += n
        self.owners = torch.cat(owners)  # (P,), the image of each pixel

    def spread(self, of_images: Tensor) -> Tensor:
        """A number of each image for each of its pixels: (..., P) of (..., images)."""
        return of_images.index_select(-1, self.owners)

    def means(self, x: Tensor) -> Tensor:
        """The mean of x (P,) over each image: (images,)."""
        parts = zip(x.split(self.lengths), self.sizes, strict=True)
        return torch.cat([colours.mean_of_rows(part.view(size[0], -1)) for part, size in parts])

    def images(self, x: Tensor) -> list[Tensor]:
        """x (3, P) as images (3, n, S, S) of each size, in the same memory."""
        parts = zip(x.split(self.lengths, 1), self.sizes, strict=True)
        return [part.view(3, n, side, side) for part, (n, side) in parts]


def jitter(x: Tensor, numbers: dict[str, Tensor], layout: Layout) -> Tensor:
    """The jitter of pixels (3, P), as those of `_PASSES` that are due.

    Args:
        x: whole numbers 0..255.
        numbers: as `drawing.draw` returns them, (images,).
        layout: of the pixels.
    """
    of_operations = [numbers[name] for name in colours.JITTER]
    factors = torch.stack([*of_operations, torch.ones_like(of_operations[0])])
    due = _DUE.on(x.device)[numbers["order"].long()]  # (images, passes), rows of `factors`
    due = torch.where(numbers["jitter"][:, None], due, _NOT_DUE)
    of_passes = layout.spread(factors.gather(0, due.T))
    for operation, factor in zip(_PASSES, of_passes, strict=True):
        if operation == _BRIGHTNESS:
            x = colours.brightness(x, factor)
        elif operation == _SATURATION:
            x = colours.saturation(x, factor)
        elif operation == _CONTRAST:
            means = layout.means(colours.grey(x))
            x = colours.contrast(x, factor, layout.spread(means))
        else:  # no turn of the hue changes nothing, as its 8-bit arithmetic rounds
            x = torch.where(layout.spread(numbers["jitter"]), colours.hue(x, factor), x)
    return x


def grey(x: Tensor, numbers: dict[str, Tensor], layout: Layout) -> Tensor:
    """Pixels (3, P), grey where that was drawn."""
    return torch.where(layout.spread(numbers["gray"]), colours.grey(x), x)


def _passes_by_order() -> Tensor:
    """For each of the orders which factor each of the passes has, (24, passes)."""
    hue = _PASSES.index(_HUE)
    rows = []
    for order in colours.ORDERS:
        row = [_NOT_DUE] * len(_PASSES)
        place = 0
        for operation in order:
            place = hue if operation == _HUE else _PASSES.index(operation, place)
            row[place] = operation
        rows.append(row)
    return torch.tensor(rows)


_DUE = DeviceConstant(_passes_by_order())
