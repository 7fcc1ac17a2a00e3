"""`python -m pipeline.gpu.checks`: does the device compute what the CPU computes?

Views, loss, gradients, a step of each method and short runs, on the device in float32 and on the
CPU, where it can be in float64; and, on CUDA alone, whether training steps wait for the device. A
check is a row with a difference and what is allowed; one that fails or breaks ends none of the
others, but the exit status is 1.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from infomax_nb.errors import one_line
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.methods import METHODS
from infomax_nb.views.batch import MultiView
from infomax_nb.views.pixels import IMAGENET_STD
from infomax_nb.views.recipes import recipe_views
from pipeline.gpu.results import results_of
from pipeline.gpu.steps import run_difference, step_difference
from pipeline.gpu.waits import eager_steps, trained_steps

PASSED = "passed"
FAILED = "failed"
LEFT_OUT = "left out"

KAPPAS = (0.1, 0.6931, 1.0, 10.0, 20.0, 1000.0)
RECIPES = (("dino", 32), ("simclr", 32), ("vicreg", 32), ("byol", 32), ("dino", 96))


@dataclass(frozen=True)
class Check:
    """What came of a check.

    Args:
        check: what was compared.
        case: of what.
        result: passed, failed or left out.
        difference: how far the device is from the CPU.
        allowed: how far it may be.
        said: why it was left out, or how it broke.
    """

    check: str
    case: str
    result: str
    difference: float = float("nan")
    allowed: float = float("nan")
    said: str = ""


@dataclass(frozen=True)
class CheckSetting:
    """Where and how checks are made.

    Args:
        device: `cuda` or `cpu`.
        batch: images in a step.
        tolerance: what is allowed is multiplied by this; 0 lets nothing pass that differs at all.
        scratch: a folder for short runs.
    """

    device: str
    batch: int
    tolerance: float
    scratch: Path

    def compared(self, check: str, case: str, measure: Callable[[], tuple[float, float]]) -> Check:
        """The check of a difference and what is allowed, or how measuring them broke."""
        try:
            difference, allowed = measure()
        except Exception as error:  # whatever breaks on a device is a result
            return Check(check, case, FAILED, said=f"{type(error).__name__}: {one_line(error)}")
        allowed *= self.tolerance
        result = PASSED if difference <= allowed else FAILED
        return Check(check, case, result, difference, allowed)


# --- Views and loss ---------------------------------------------------------------------------


def view_difference(setting: CheckSetting, recipe: str, size: int) -> tuple[float, float]:
    """The share of pixels' values that are off by more than one level of 255, of 1.

    Products are summed in another order on another device, so a value that lies between two levels
    may be rounded to the other one. That happens to a few in a hundred thousand; later operations
    may enlarge it, at most solarisation, which inverts what is near the threshold. One in a
    thousand is far more than that, and far less than any wrong step of the arithmetic.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (setting.batch, 3, size, size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    views = MultiView(recipe_views(recipe, size))
    numbers = views.draw(setting.batch, size, size, generator)
    there = {name: each.to(setting.device) for name, each in numbers.items()}
    expected = views.make(images, numbers)
    made = views.make(images.to(setting.device), there)
    level = 1 / 255 / max(IMAGENET_STD)
    pairs = zip(made, expected, strict=True)
    near = [((a.cpu() - b).abs() <= 1.5 * level).flatten() for a, b in pairs]  # NaN is not
    return 1 - torch.cat(near).double().mean().item(), 1e-3


def loss_difference(
    setting: CheckSetting, kappa: float, loss: Callable[[float], torch.nn.Module] = InfoMaxLoss
) -> tuple[float, float]:
    """The largest relative difference of value and gradient from float64 on the CPU.

    The gradient is compared relative to its largest entry. Cosines are off by some 1e-6 in float32,
    and kappa multiplies that: so is what is allowed. TF32's products, which have three digits,
    would differ by a thousand times more.
    """
    generator = torch.Generator().manual_seed(1)
    views = torch.randn(8, setting.batch, 128, generator=generator)
    value, gradient = _value_and_gradient(InfoMaxLoss(kappa), views.double())
    made, made_gradient = _value_and_gradient(loss(kappa).to(setting.device), views, setting.device)
    of_value = (made - value).abs() / value.abs().clamp(min=1.0)
    of_gradient = (made_gradient - gradient).abs().max() / gradient.abs().max()
    worst = torch.maximum(of_value, of_gradient)  # NaN, if one of them is
    return worst.item(), 2e-5 + 5e-6 * kappa


def _value_and_gradient(loss, views: Tensor, device: str = "cpu") -> tuple[Tensor, Tensor]:
    own = views.to(device).requires_grad_()
    value = loss(list(own))
    (gradient,) = torch.autograd.grad(value, own)
    return value.detach().cpu().double(), gradient.cpu().double()


# --- All of them ------------------------------------------------------------------------------


def checks(setting: CheckSetting) -> Iterator[Check]:
    """Every check, the quick ones first."""
    for recipe, size in RECIPES:
        measure = partial(view_difference, setting, recipe, size)
        yield setting.compared("views", f"{recipe}, {size} pixels", measure)
    for kappa in KAPPAS:
        measure = partial(loss_difference, setting, kappa)
        yield setting.compared("loss", f"kappa = {kappa:g}", measure)
    place = (setting.device, setting.batch)
    for method in METHODS:
        yield setting.compared("step", method, partial(step_difference, method, *place))
    yield from waits(setting)
    for method in METHODS:
        measure = partial(run_difference, method, *place, setting.scratch)
        yield setting.compared("run", method, measure)


def waits(setting: CheckSetting) -> Iterator[Check]:
    """Whether twenty training steps run without waiting for the device, on CUDA alone."""
    ways = {"views, method, optimiser": eager_steps, "as a run trains": trained_steps}
    for case, steps in ways.items():
        if setting.device != "cuda":
            yield Check("no wait", case, LEFT_OUT, said="no CUDA")
        else:
            yield setting.compared("no wait", case, partial(steps, setting.batch))


def main() -> None:
    """Make every check, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--out", type=Path, required=True, help="folder of the table")
    parser.add_argument("--scratch", type=Path, required=True, help="folder of short runs")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tolerance", type=float, default=1.0)
    given = parser.parse_args()
    results = results_of(given, "checks")
    setting = CheckSetting(given.device, given.batch, given.tolerance, given.scratch)
    made: list[Check] = []
    for check in checks(setting):
        made.append(check)
        results.write([asdict(each) for each in made], whole=False)
        print(f"{check.check}, {check.case}: {check.result} {check.said}".rstrip(), flush=True)
    failed = [each for each in made if each.result == FAILED]
    results.write([asdict(each) for each in made], whole=not failed)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
