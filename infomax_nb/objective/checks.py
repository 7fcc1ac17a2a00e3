"""Refuse inputs that the objective cannot take, with a sentence that says what it needs."""

from collections.abc import Sequence

import torch
from lightly.utils.dist import world_size

VIEWS = (
    "give at least two tensors of one shape (B, D), D >= 2, one for each view, or a list of them"
)
VIEWS += " (no labels, no masks)"


def check_rows(z: torch.Tensor) -> torch.Tensor:
    """The unit rows z (N, D) in float32 (float64 stays).

    Raises:
        ValueError: z is not a floating-point tensor (N, D), N and D at least 2, whose rows have
            length 1, within 2%, or 0.
    """
    if not isinstance(z, torch.Tensor) or not z.is_floating_point():
        kind = z.dtype if isinstance(z, torch.Tensor) else type(z).__name__
        raise ValueError(f"z is of {kind}: it must be a tensor (N, D) of floating-point numbers.")
    if z.ndim != 2 or len(z) < 2 or z.shape[1] < 2:
        needed = "it must be (N, D) with N >= 2 rows and D >= 2"
        raise ValueError(f"z has shape {tuple(z.shape)}: {needed}.")
    z = z if z.dtype == torch.float64 else z.float()
    norms = z.detach().norm(dim=1)
    if not (((norms - 1).abs() < 0.02) | (norms == 0)).all():
        lengths = f"lengths go from {norms.min():.4g} to {norms.max():.4g}"
        raise ValueError(f"z must have rows of length 1; {lengths}.")
    return z


def check_views(views: Sequence[torch.Tensor]) -> None:
    """Refuse anything but a list of V >= 2 tensors (B, D).

    Raises:
        ValueError: they differ in shape, floating dtype or device, or show only one image.
    """
    if isinstance(views, torch.Tensor):
        hint = (
            "give one for each view, as loss(z0, z1), or a list, as list(z.unbind(1)) of (B, V, D)"
        )
        raise ValueError(f"views: one tensor of shape {tuple(views.shape)}: {hint}.")
    if not isinstance(views, list | tuple):
        raise ValueError(f"views: a {type(views).__name__}: {VIEWS}.")
    if not all(isinstance(view, torch.Tensor) for view in views):
        kinds = ", ".join(sorted({type(view).__name__ for view in views}))
        raise ValueError(f"views: a {type(views).__name__} of {kinds}: {VIEWS}.")
    shapes = sorted({tuple(view.shape) for view in views})
    alike = len(views) >= 2 and len(shapes) == 1
    if not alike or len(shapes[0]) != 2 or shapes[0][0] < 1 or shapes[0][1] < 2:
        raise ValueError(f"views: {len(views)} tensors of shapes {shapes}: {VIEWS}.")
    kinds = " and ".join(sorted({f"{view.dtype} on {view.device}" for view in views}))
    if " and " in kinds or not views[0].is_floating_point():
        needed = "all must have one floating dtype, on one device"
        raise ValueError(f"views: tensors of {kinds}: {needed}.")
    if len(views[0]) == 1 and world_size() == 1:
        needed = "at least two images are needed, to be told from each other"
        raise ValueError(f"views: of one image (B = 1): {needed}.")
