"""Overlaps of a kernel with the uniform distribution, and the drawings of notebook 00."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats

from infomax_nb.analysis import sphere
from infomax_nb.figures import circle


@pytest.mark.parametrize("kappa", [0.1, 1, 10, 100])
def test_the_overlap_on_the_sphere_is_the_elementary_formula(kappa):
    """Over the cosine c the densities are kappa e^(kappa c) / (2 sinh kappa) and 1/2; they cross
    once, and each is the lower one on its side."""
    cross = math.log(math.sinh(kappa) / kappa) / kappa
    rise = math.exp(kappa * cross) - math.exp(-kappa)
    below = rise / (2 * math.sinh(kappa))
    above = (1 - cross) / 2
    expected = below + above
    assert sphere.overlap_with_uniform(3, kappa) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("kappa, said", [(10, 0.66), (20, 0.38), (30, 0.19), (50, 0.04)])
def test_the_overlap_in_many_dimensions_is_that_of_draws(kappa, said):
    """1 - overlap is how much more often the kernel's points than uniform ones lie where the kernel
    is the higher: both shares are counted among SciPy's draws."""
    found = sphere.overlap_with_uniform(128, kappa)
    assert found == pytest.approx(said, abs=0.005)
    rng = np.random.default_rng(0)
    pole = np.eye(128)[0]
    kernel = stats.vonmises_fisher(pole, kappa)
    own = kernel.rvs(20_000, random_state=rng)
    uniform = stats.uniform_direction(128)
    others = uniform.rvs(20_000, random_state=rng)
    log_uniform = -sphere.log_area(128)
    higher = [kernel.logpdf(points) > log_uniform for points in (own, others)]
    more_often = higher[0].mean() - higher[1].mean()
    assert 1 - more_often == pytest.approx(said, abs=0.015)


@pytest.mark.parametrize("dim, kappa", [(2, 0), (2, 5), (3, 0), (16, 30), (512, 50)])
def test_the_angles_density_integrates_to_one(dim, kappa):
    angle = (np.arange(20_000) + 0.5) * math.pi / 20_000
    density = sphere.angle_density(dim, kappa, angle)
    total = density.mean() * math.pi
    assert total == pytest.approx(1, abs=1e-6)


# --- Drawings -------------------------------------------------------------------------------------


def test_the_sphere_shows_points_of_its_near_half():
    points = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [-1, 0, 0]], dtype=torch.float64)
    alone = circle.on_sphere(points, [1]).axes[0]
    assert alone.get_title() == "κ = 1"
    figure = circle.on_sphere(points, [1, 10])
    assert [axis.get_title() for axis in figure.axes[:2]] == ["κ = 1", "κ = 10"]
    (line,) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[0, 0], [0.6, 0]]
    plt.close(figure)


def test_densities_are_drawn_around_the_circle_and_over_the_angle():
    """One point: the kernel's height above its own place is C_2 e^kappa."""
    figure = circle.on_circle([0.0], [1, 10])
    curves = {line.get_label(): line.get_ydata() for line in figure.axes[1].lines}
    for kappa in (1, 10):
        peak = math.exp(kappa) / (2 * math.pi * np.i0(kappa))
        assert max(curves[f"κ = {kappa}"]) == pytest.approx(peak)
    plt.close(figure)


def test_the_groups_say_how_far_off_the_estimate_is():
    """A kernel that is far too wide estimates the uniform density: what is off can be computed."""
    figure = circle.three_groups(kappa=1e-6, concentration=50, seed=0)
    (said,) = [text for text in _legend(figure.axes[1]) if "off" in text]
    angle = np.radians(np.arange(-180, 180, 0.5))
    centres = np.radians([-120, 0, 60])
    groups = [stats.vonmises.pdf(angle, 50, centre) for centre in centres]
    beyond = np.mean(groups, 0) - 1 / (2 * math.pi)
    off = np.abs(beyond).mean() * math.pi
    assert said == f"truth, {off:.0%} off"
    plt.close(figure)


def test_the_angles_legend_says_the_overlaps():
    figure = circle.angles([10, 50], 128)
    assert _legend(figure.axes[0]) == ["uniform", "κ = 10: 66% overlap", "κ = 50: 4% overlap"]
    plt.close(figure)


def test_toys_are_drawn_where_their_views_are():
    views = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [-1.0, 0.0]]])  # (V, B, 2)
    figure = Figure()
    circle.draw_toys(figure, {"a": views, "b": views}, 2, circle.on_ring, "step 3")
    marks = [line.get_xydata() for line in figure.axes[0].lines[1:]]
    first = [[1.13, 0], [1.26, 0]]
    second = [[0, 1.13], [-1.26, 0]]
    assert np.allclose(marks, [first, second])
    assert figure.get_suptitle() == "step 3"


def test_a_ball_shows_what_is_near_what_is_far_and_what_all_share():
    views = torch.tensor([1.0, 0, 0]).repeat(2, 4, 1)  # two views of four images, one a group
    views[0, 0] = torch.tensor([-0.6, 0.8, 0])
    views[1] = torch.tensor([0, 0, 1.0])
    figure = Figure()
    circle.draw_toys(figure, {"ball": views}, 1, circle.on_ball)
    far, near, *others = figure.axes[0].lines
    assert np.allclose(far.get_xydata(), [[0.8, 0]])
    assert len(near.get_xydata()) == 0
    assert others[1].get_xydata().tolist() == [[0, 0]]
    assert others[-1].get_xydata().tolist() == [[0, 1]]
    assert others[-1].get_color() == "black"


def _legend(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]
