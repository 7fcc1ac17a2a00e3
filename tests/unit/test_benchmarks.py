"""The peers that benchmarks time do the same as ours, and each table has its line in words."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from loss import candidate, differences
from scipy.ndimage import gaussian_filter
from torch import Tensor
from view_peers import DEVIATION, MEAN, KorniaViews, TorchvisionViews

from infomax_nb.losses import InfoMaxLoss
from infomax_nb.views.specification import ViewSpec
from pipeline.benchmarks import VERDICTS, verdict, verdict_of

ROOT = Path(__file__).parents[2]

# --- Views ------------------------------------------------------------------------------------

# Nothing is left to chance: the whole image, neither flipped nor changed.
PLAIN = ViewSpec(32, (1.0, 1.0), (1.0, 1.0), flip=0.0, jitter_p=0.0, gray_p=0.0)
LEVEL = 1 / 255 / min(DEVIATION)  # what one of 256 grey values is in a view


def pictures() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator)


def standardised(values: np.ndarray) -> np.ndarray:
    """Images (N, 3, H, W) from 0 to 255 as views."""
    channels = (1, 3, 1, 1)
    return (values / 255 - np.reshape(MEAN, channels)) / np.reshape(DEVIATION, channels)


def view(peer: str, spec: ViewSpec) -> np.ndarray:
    """The one view (N, 3, S, S) that a peer makes of the pictures."""
    if peer == "kornia":
        pytest.importorskip("kornia", reason="kornia is not installed: make setup")
        return KorniaViews([spec])(pictures())[0].numpy()
    draw = TorchvisionViews([spec])
    return torch.stack([draw(image)[0] for image in pictures()]).numpy()


def grey(values: np.ndarray) -> np.ndarray:
    luma = 0.299 * values[:, 0] + 0.587 * values[:, 1] + 0.114 * values[:, 2]
    return np.repeat(luma[:, None], 3, axis=1)


EXPECTED = {
    "nothing": (PLAIN, lambda x: x),
    "flip": (replace(PLAIN, flip=1.0), lambda x: x[..., ::-1]),
    "grey": (replace(PLAIN, gray_p=1.0), grey),
    "solarise": (replace(PLAIN, solarize_p=1.0), lambda x: np.where(x >= 128, 255 - x, x)),
    "blur": (
        replace(PLAIN, blur_p=1.0, sigma=(1.0, 1.0)),
        lambda x: gaussian_filter(x, (0, 0, 1, 1), mode="mirror", truncate=3.0),
    ),
}


@pytest.mark.parametrize("peer", ["torchvision", "kornia"])
@pytest.mark.parametrize("change", EXPECTED)
def test_a_peer_does_to_an_image_what_the_recipe_says(peer, change):
    spec, expected = EXPECTED[change]
    wanted = standardised(expected(pictures().numpy().astype(float)))
    np.testing.assert_allclose(view(peer, spec), wanted, atol=1.5 * LEVEL)


@pytest.mark.parametrize("peer", ["torchvision", "kornia"])
def test_a_peer_crops_to_the_views_size(peer):
    spec = replace(PLAIN, size=16, area=(0.25, 0.25))
    assert view(peer, spec).shape == (4, 3, 16, 16)


# --- The objective ----------------------------------------------------------------------------


def test_a_loss_of_another_scale_is_not_timed():
    ours = InfoMaxLoss(10.0)
    x = torch.randn(2, 8, 4, requires_grad=True)
    losses = {"ours": lambda x: ours(list(x)), "half": lambda x: ours(list(x)) / 2}
    with pytest.raises(SystemExit, match="half differs from ours by .*: it is another function"):
        differences(losses, x)


def test_a_loss_of_another_gradient_is_not_timed():
    """Its value is ours, its gradient twice ours."""
    ours = InfoMaxLoss(10.0)
    x = torch.randn(2, 256, 4, requires_grad=True)

    def steeper(x: Tensor) -> Tensor:
        loss = ours(list(x))
        return 2 * loss - loss.detach()

    losses = {"ours": lambda x: ours(list(x)), "steeper": steeper}
    with pytest.raises(SystemExit, match="steeper differs from ours by"):
        differences(losses, x)


def test_lightlys_loss_is_the_same_function():
    x = torch.randn(2, 16, 8, requires_grad=True)
    losses = {name: candidate(name) for name in ("ours", "lightly NTXentLoss")}
    found = differences(losses, x)
    assert found["ours"] == 0
    assert found["lightly NTXentLoss"] < 1e-6


# --- In words ---------------------------------------------------------------------------------


def rows(*each: dict) -> pd.DataFrame:
    return pd.DataFrame(each)


def test_views_in_words_name_each_peers_best_way():
    table = rows(
        {"pixels": 32, "candidate": "ours", "times_ours": 1, "ms_per_image": 0.5},
        {"pixels": 32, "candidate": "lightly, one process", "times_ours": 12, "ms_per_image": 6},
        {"pixels": 32, "candidate": "lightly, 2 workers", "times_ours": 8, "ms_per_image": 4},
        {"pixels": 32, "candidate": "kornia", "times_ours": 3, "ms_per_image": 1.5},
    )
    words = "eight views of 32 pixels take ours 0.5 ms an image"
    peers = "kornia 3 times as long, lightly 8 times as long"
    assert verdict("views", table) == f"Ours is the fastest at every size: {words}, {peers}."


def test_a_peer_that_is_faster_is_named():
    table = rows(
        {"pixels": 96, "candidate": "ours", "times_ours": 1, "ms_per_image": 2},
        {"pixels": 96, "candidate": "lightly", "times_ours": 2, "ms_per_image": 4},
        {"pixels": 96, "candidate": "kornia", "times_ours": 0.8, "ms_per_image": 1.6},
    )
    assert verdict("views", table).startswith("Ours is not always the fastest (kornia): ")


def test_losses_in_words_are_those_at_the_largest_size_of_each():
    nothing = float("nan")
    table = rows(
        {"N": 256, "D": 128, "candidate": "ours", "times_ours": 1, "extra_MB": nothing},
        {"N": 256, "D": 128, "candidate": "KeOps", "times_ours": 20, "extra_MB": nothing},
        {"N": 4096, "D": 128, "candidate": "ours", "times_ours": 1, "extra_MB": 50},
        {"N": 4096, "D": 128, "candidate": "lightly", "times_ours": 9, "extra_MB": 300},
        {"N": 8192, "D": 64, "candidate": "lightly", "times_ours": 99, "extra_MB": 900},
    )
    keops = "KeOps takes 20 times as long at N = 256"
    lightly = "lightly takes 9 times as long and 6 times the memory at N = 4,096"
    assert verdict("loss", table) == f"Ours is the fastest at every size: {keops}; {lightly}."


def test_runs_at_once_in_words():
    table = rows({"runs": 1, "times_one_run": 1.0}, {"runs": 2, "times_one_run": 2.2041})
    words = "At once, 2 runs see 2.2 times as many images a second as one run."
    assert verdict("side_by_side", table) == words


def test_the_two_steps_of_late_training_in_words():
    table = rows(
        {"candidate": "ours", "seconds": 0.2, "share_of_first": 1.0},
        {"candidate": "SimCLR", "seconds": 0.08, "share_of_first": 0.4},
    )
    times = "In late training a step of ours and of SimCLR takes 200 and 80 ms on one core"
    assert verdict("late_step", table) == f"{times}: ours costs 2.5 times SimCLR's."


def test_what_has_no_words_has_none():
    assert verdict("checks", rows({"result": "passed"})) == ""
    assert verdict("views", pd.DataFrame()) == ""


@pytest.mark.parametrize("path", sorted((ROOT / "reports/benchmarks").glob("*.csv")), ids=str)
def test_each_committed_table_has_one_line(path):
    if path.stem.partition("_")[2] not in VERDICTS:
        pytest.skip("a table of a session on a GPU, not of a benchmark")
    line = verdict_of(path)
    assert line[0].isupper() and line.endswith(".")
    assert "\n" not in line and "nan" not in line
    assert json.loads(path.with_suffix(".json").read_text())["cpu"]


# --- The page on speed ------------------------------------------------------------------------

PAGE = (ROOT / "docs/speed.md").read_text()


def measured(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / f"reports/benchmarks/cpu_{name}.csv")


@pytest.mark.parametrize("size", [32, 96])
def test_the_pages_views_are_those_measured(size):
    rows = measured("views").query("pixels == @size").set_index("candidate")
    peer = rows.loc["lightly, DataLoader with 2 workers", "times_ours"]
    ours = rows.loc["ours", "ms_per_image"]
    (line,) = [line for line in PAGE.splitlines() if f"{size} pixels" in line and "ms" in line]
    assert f"| {ours:.2g} ms |" in line
    assert f"| {peer:.1f} times as long |" in line


@pytest.mark.parametrize("n", [1024, 8192])
def test_the_pages_losses_are_those_measured(n):
    rows = measured("loss").query("N == @n and D == 128").set_index("candidate")
    ours = rows.loc["ours"]
    peer = rows.loc["lightly NTXentLoss"]
    (line,) = [line for line in PAGE.splitlines() if f"{n:,} views" in line]
    seconds = ours["seconds"]
    time = f"{seconds:.2g} s" if seconds > 0.1 else f"{seconds * 1e3:.2g} ms"
    assert f"| {time}, {ours['extra_MB']:.0f} MB |" in line
    memory = peer["extra_MB"] / ours["extra_MB"]
    theirs = f"{peer['times_ours']:.2g} times as long, {memory:.2g} times the memory"
    assert f"| {theirs} |" in line


def test_the_pages_images_a_second_are_those_measured():
    rows = measured("throughput").query("proj_dim == 128")
    names = {"small ResNet": "resnet_small", "ResNet-18": "resnet18", "ViT-Tiny": "vit_tiny"}
    names |= {"ResNet-50": "resnet50"}
    methods = {"ours": "infomax", "SimCLR": "simclr"}
    shown = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if " pixels | " in line]
    assert len(shown) >= 6
    for network, size, method, rate in shown[-6:]:
        kind = (rows["backbone"] == names[network]) & (rows["method"] == methods[method])
        kind &= rows["image_size"] == int(size.split()[0])
        (value,) = rows.loc[kind, "images_per_second"]
        assert rate == (f"{value:.0f}" if value > 10 else f"{value:.1f}")


def test_the_pages_runs_beside_others_are_those_measured():
    beside = measured("busy").set_index(["candidate", "beside"])["times_quiet"]
    one = beside["as it is", "one busy process"]
    two = beside["as it is", "two busy processes"]
    words = f"{one:.1f} times its quiet time beside one busy process, {two:.1f} times beside two"
    assert words in PAGE
    ratio = measured("side_by_side")["times_one_run"].iloc[-1]
    flowing = PAGE.replace("\n", " ")
    assert f"see {ratio:.1f} times as many images a second as one run" in flowing
    share = measured("engine").set_index("candidate")["seconds"]
    assert f"takes {share['precision=bf16'] / share['precision=32']:.2f} of float32's time" in PAGE
