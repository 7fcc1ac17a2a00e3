"""How projections fill their sphere, against NumPy; and the method before its first step."""

import numpy as np
import pytest
import torch

from infomax_nb.analysis.projections import geometry
from infomax_nb.config import TrainConfig
from infomax_nb.data.loading import load
from infomax_nb.evaluation.probe import held_out_projections, untrained_method
from infomax_nb.methods import build
from infomax_nb.seeds import Use, stream

TINY = TrainConfig(proj_dim=16, batch_size=4)


def random_views(views: int, images: int, dim: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(3 * torch.randn(views, images, dim, generator=generator))


def test_the_spread_is_that_of_all_pairs_of_different_images():
    """Written out in loops over two batches of three images with two views."""
    batches = [random_views(2, 3, 4, seed) for seed in (0, 1)]
    spreads = []
    for views in batches:
        z = torch.stack(views).numpy().astype(float)
        z /= np.linalg.norm(z, axis=-1, keepdims=True)
        cosines = [
            z[v, i] @ z[w, j]
            for v in range(2)
            for w in range(2)
            for i in range(3)
            for j in range(3)
            if i != j
        ]
        spreads.append(np.std(cosines, ddof=1))
    found = geometry(batches, kappa=7.0)
    assert found["kernel_spread"] == pytest.approx(7 * np.mean(spreads), rel=1e-5)


@pytest.mark.parametrize("dim", [64, 1024])
def test_random_directions_have_the_spread_of_one_over_the_root(dim):
    found = geometry([random_views(4, 256, dim)], kappa=10.0)
    assert found["kernel_spread"] == pytest.approx(10 / np.sqrt(dim), rel=0.03)


def test_the_rank_counts_the_directions_of_the_first_views():
    """Eight images on the axes of three dimensions and their opposites, the rest of 20 unused."""
    first = torch.zeros(6, 20)
    first[torch.arange(6), torch.tensor([0, 0, 1, 1, 2, 2])] = torch.tensor([1.0, -1] * 3)
    views = [5 * first, torch.randn(6, 20)]
    assert geometry([views], 1.0)["projection_rank"] == pytest.approx(3, rel=1e-5)


def test_an_untrained_method_is_the_runs_own_at_its_start():
    """Its projections are those of the initial weights in training mode."""
    test = load("glyphs", split="test")[:6]
    views = held_out_projections(untrained_method(TINY, 48), test, device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream(TINY.seed, 0, Use.WEIGHTS))
        net = build(TINY, 48).train()
    net.eval = lambda: net  # BatchNorm goes on taking each batch's statistics
    expected = held_out_projections(net, test, device="cpu")
    assert len(views) == 1
    assert len(views[0]) == 8
    assert torch.allclose(torch.stack(views[0]), torch.stack(expected[0]), atol=1e-5)
