"""The views of a `ViewSpec` as torchvision's v2 and kornia make them, as nearly as each one can.

Neither blurs as Pillow does, and lightly with it: their kernel is a Gaussian cut off at a number of
pixels. `DIFFERENCES` says what else is not the same.
"""

import math

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

from infomax_nb.views.specification import ViewSpec

MEAN = [0.485, 0.456, 0.406]  # of the channels on ImageNet, as in all of lightly's transforms
DEVIATION = [0.229, 0.224, 0.225]
THRESHOLD = 128  # the grey value from which on solarisation inverts
DIFFERENCES = {
    "torchvision v2": "tensors instead of Pillow images",
    "kornia": "crops without antialiasing; one order of the jitter for the whole batch",
}


def blur_pixels(spec: ViewSpec) -> int:
    """Pixels of the blur's kernel: three of its largest standard deviations on both sides."""
    return 2 * math.ceil(3 * spec.sigma[1]) + 1


def torchvision_view(spec: ViewSpec) -> v2.Compose:
    """A view by torchvision's v2, of one uint8 image (3, H, W)."""
    kernel = InterpolationMode(spec.kernel)
    steps = [
        v2.RandomResizedCrop(spec.size, spec.area, spec.ratio, kernel, antialias=True),
        v2.RandomHorizontalFlip(spec.flip),
        v2.RandomApply([v2.ColorJitter(*spec.jitter)], spec.jitter_p),
        v2.RandomGrayscale(spec.gray_p),
    ]
    if spec.blur_p:
        steps.append(v2.RandomApply([v2.GaussianBlur(blur_pixels(spec), spec.sigma)], spec.blur_p))
    if spec.solarize_p:
        steps.append(v2.RandomSolarize(THRESHOLD, spec.solarize_p))
    to_float = v2.ToDtype(torch.float32, scale=True)
    return v2.Compose([*steps, to_float, v2.Normalize(MEAN, DEVIATION)])


class TorchvisionViews:
    """All views of an image (3, H, W), as a list."""

    def __init__(self, specs: list[ViewSpec]):
        self.views = [torchvision_view(spec) for spec in specs]

    def __call__(self, image: Tensor) -> list[Tensor]:
        return [view(image) for view in self.views]


def kornia_view(spec: ViewSpec) -> nn.Sequential:
    """A view by kornia, of float32 images (B, 3, H, W) from 0 to 1."""
    from kornia import augmentation

    side = (spec.size, spec.size)
    crop = {"scale": spec.area, "ratio": spec.ratio, "resample": spec.kernel}
    at_once = {"cropping_mode": "resample", "align_corners": False}  # not image by image
    steps = [
        augmentation.RandomResizedCrop(side, **crop, **at_once),
        augmentation.RandomHorizontalFlip(p=spec.flip),
        augmentation.ColorJitter(*spec.jitter, p=spec.jitter_p),
        augmentation.RandomGrayscale(p=spec.gray_p),
    ]
    if spec.blur_p:
        kernel = (blur_pixels(spec), blur_pixels(spec))
        steps.append(augmentation.RandomGaussianBlur(kernel, spec.sigma, p=spec.blur_p))
    if spec.solarize_p:
        steps.append(augmentation.RandomSolarize(0.0, 0.0, p=spec.solarize_p))
    steps.append(augmentation.Normalize(torch.tensor(MEAN), torch.tensor(DEVIATION)))
    return nn.Sequential(*steps)


class KorniaViews:
    """All views of uint8 images (B, 3, H, W), as a list."""

    def __init__(self, specs: list[ViewSpec]):
        self.views = [kornia_view(spec) for spec in specs]

    def __call__(self, images: Tensor) -> list[Tensor]:
        scaled = images.float() / 255
        with torch.no_grad():
            return [view(scaled) for view in self.views]
