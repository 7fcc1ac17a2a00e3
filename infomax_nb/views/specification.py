"""views.specification."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewSpec:
    """How one view is drawn; the defaults are lightly's `DINOViewTransform`'s. Probabilities in
    0..1.

    size: pixels of the square view. area: range of the crop's share of the image. ratio: range of
    width / height.
    jitter: strengths of brightness, contrast, saturation (factors in 1 ± s) and hue (turns in ± s).
    sigma: range of the blur's standard deviation, pixels. kernel: of the resizing, `bicubic` or
    `bilinear`.
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


def from_lightly(name: str, *parts, **options) -> list[ViewSpec]:
    """The views that one of lightly's transforms draws (`SimCLRTransform`, ...), read from its own
    objects.

    `parts`, `options`: what the transform is made with.
    """
    from lightly import transforms

    made = []
    for view in getattr(transforms, name)(*parts, **options).transforms:
        part = {type(t).__name__: t for t in view.transform.transforms}
        crop, blur, solarize = (
            part["RandomResizedCrop"],
            part["GaussianBlur"],
            part.get("RandomSolarization"),
        )
        apply, jitter = part["RandomApply"], part["RandomApply"].transforms[0]
        strengths = [
            round(getattr(jitter, n)[1] - 1, 6) for n in ("brightness", "contrast", "saturation")
        ]
        shape = (crop.size[0], tuple(crop.scale), tuple(crop.ratio), part["RandomHorizontalFlip"].p)
        colours = (
            (*strengths, jitter.hue[1]),
            apply.p,
            part["RandomGrayscale"].p,
            blur.prob,
            tuple(blur.sigmas),
        )
        order, kernel = (
            list(part.values()),
            getattr(crop.interpolation, "value", crop.interpolation),
        )
        swapped = solarize is not None and order.index(solarize) < order.index(blur)
        made.append(ViewSpec(*shape, *colours, solarize.prob if solarize else 0.0, kernel, swapped))  # type: ignore[arg-type]
    return made
