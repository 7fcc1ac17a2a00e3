"""`ViewSpec`: how one view is drawn."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ViewSpec:
    """How one view is drawn.

    The defaults are those of lightly's `DINOViewTransform`, without blur and solarisation.

    Args:
        size: pixels of the square view.
        area: range of the crop's share of the image.
        ratio: range of the crop's width / height.
        flip: probability of a horizontal flip, 0 to 1. So are all fields that end in `_p`.
        jitter: strengths of brightness, contrast, saturation (factors in 1 ± s) and hue (turns in
            ± s).
        jitter_p: probability of the jitter, all four together.
        gray_p: probability that the view is grey.
        blur_p: probability of a blur.
        sigma: range of the blur's standard deviation, pixels.
        solarize_p: probability that bright pixels are inverted.
        kernel: how the view is resized, `bicubic` or `bilinear`.
        solarize_first: whether bright pixels are inverted before the blur, as in VICReg, not after.
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


def from_lightly(name: str, **options: Any) -> list[ViewSpec]:
    """The views of one of lightly's transforms, read from its own objects.

    Args:
        name: the transform's, such as `SimCLRTransform`.
        options: the arguments that it is made with.
    """
    from lightly import transforms

    views = getattr(transforms, name)(**options).transforms
    return [_view_spec(view.transform.transforms) for view in views]


def _view_spec(steps: list[Any]) -> ViewSpec:
    named = {type(step).__name__: step for step in steps}
    crop = named["RandomResizedCrop"]
    jitter = named["RandomApply"].transforms[0]
    blur = named["GaussianBlur"]
    solarize = named.get("RandomSolarization")
    ranges = (jitter.brightness, jitter.contrast, jitter.saturation)
    brightness, contrast, saturation = [round(high - 1, 6) for _, high in ranges]
    return ViewSpec(
        size=crop.size[0],
        area=crop.scale,
        ratio=crop.ratio,
        flip=named["RandomHorizontalFlip"].p,
        jitter=(brightness, contrast, saturation, jitter.hue[1]),
        jitter_p=named["RandomApply"].p,
        gray_p=named["RandomGrayscale"].p,
        blur_p=blur.prob,
        sigma=blur.sigmas,
        solarize_p=solarize.prob if solarize else 0.0,
        kernel=getattr(crop.interpolation, "value", crop.interpolation),
        solarize_first=bool(solarize) and steps.index(solarize) < steps.index(blur),
    )
