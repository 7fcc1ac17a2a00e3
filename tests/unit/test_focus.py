"""Saliency on objects: tables and words, against numbers that are written out here."""

import numpy as np
import pandas as pd
import pytest
import torch

from infomax_nb.analysis import focus
from infomax_nb.analysis.saliency import compared, inside, ratio_gaps, smooth_grad_cam
from infomax_nb.figures import saliency as figures
from infomax_nb.models import backbone
from infomax_nb.report import committed


def half_maps() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images: the maps lie on the left and on the right half, both objects on the left."""
    maps = torch.zeros(2, 4, 4)
    maps[0, :, :2] = 1
    maps[1, :, 2:] = 1
    masks = torch.zeros(2, 4, 4)
    masks[:, :, :2] = 1
    return maps, masks


def test_each_map_on_the_next_images_object():
    found = focus.on_objects(*half_maps())
    assert found.ratio.tolist() == [2, 0]
    assert found.other.tolist() == [0, 2]


def table(*ratios: float) -> pd.DataFrame:
    ratio = np.array(ratios, float)
    return pd.DataFrame({"ratio": ratio, "other": ratio / 2, "hit": 10 * ratio})


def test_an_images_mean_over_networks():
    found = focus.mean_of_networks([table(1, 2), table(3, 6)])
    pd.testing.assert_frame_equal(found, table(2, 4))


def test_intervals_as_texts_and_back():
    values = pd.DataFrame({"mean": [1.254, -0.004], "low": [1.2, -0.123], "high": [1.3, 0.2]})
    texts = focus.in_brackets(values, 2)
    assert texts.tolist() == ["1.25 (1.20 to 1.30)", "0.00 (−0.12 to 0.20)"]
    assert focus.from_brackets(texts).to_numpy().tolist() == [[1.25, 1.2, 1.3], [0, -0.12, 0.2]]


def test_what_is_exported_has_the_columns_of_what_is_committed():
    by_seed = {
        "infomax": [table(1, 2, 3), table(3, 4, 5)],
        "simclr": [table(1, 1, 1), table(1, 1, 2)],
        "uniform": [table(1, 1, 1)],
    }
    found = focus.result_table(by_seed, "infomax")
    old = committed("saliency_glyphs").columns
    assert list(found.columns[: len(old)]) == list(old)
    assert found.loc["infomax", "ratio, seed by seed"] == "2.00, 4.00"
    # 2 - 1 and 4 - 4/3: mean 11/6, standard error 5/6, t(1, 97.5%) = 12.706
    assert found.iloc[1, -1] == "+1.83 [−8.76, +12.42]"
    assert found.loc["uniform"].iloc[-2:].tolist() == ["–", "–"]
    assert found.loc["infomax", "ratio, infomax less it"] == "–"
    assert found.loc["simclr", "ratio, infomax less it"].startswith("1.83 (")


def test_stages_are_those_that_have_a_map():
    net = backbone("resnet_small")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    masks = torch.ones(2, 32, 32)
    masks[:, :16] = 0
    found = focus.by_stage(net, images, masks)
    assert list(found) == ["act1", "layer1", "layer2", "layer3"]  # layer4's is a point
    expected = inside(smooth_grad_cam(net, images, "layer2"), masks)
    pd.testing.assert_frame_equal(found["layer2"], expected)


def test_stages_as_a_table():
    staged = {"infomax": {"act1": table(1, 2)}, "untrained": {"act1": table(1, 1)}}
    found = focus.stage_table(staged, "infomax")
    assert found.loc["act1"].tolist() == ["1.50", "1.00", "0.50 (0.00 to 1.00)"]
    assert found.columns[-1] == "infomax less untrained"


@pytest.mark.parametrize("networks", [1, 2])
def test_the_verdict_in_sentences(networks):
    own = [table(2, 2.2, 1.8).assign(other=1.0)] * networks
    gaps = ratio_gaps({"infomax": own, "uniform": [table(1, 1, 1)]}, "infomax")
    said, unit = focus.sentences(compared(gaps), gaps)
    assert len(said) == 2
    assert said[1].startswith("above a uniform map, difference 1.00 (")
    assert ("over networks there is none" in unit) == (networks == 1)
    assert said[1].endswith("seed by seed 1.0, 1.0") == (networks == 2)


def test_committed_seeds_have_the_committed_means():
    old = committed("saliency_glyphs")
    each = focus.seed_by_seed(old["ratio, seed by seed"])
    assert len(each) == 3
    means = focus.from_brackets(old.ratio)["mean"]
    assert np.allclose(each.mean(), means[each.columns], atol=0.011)


# --- Figures --------------------------------------------------------------------------------------


def test_a_panel_has_a_row_for_each_series():
    values = pd.Series({"infomax": 1.0, "simclr": 2.0})
    panel = figures.series(
        {"all": figures.single(values), "one": figures.single(values[:1])}, ["simclr", "infomax"]
    )
    assert panel.index.tolist() == ["SimCLR", "ours", "ours"]
    assert panel.series.tolist() == ["all", "all", "one"]
    assert panel["mean"].tolist() == [2, 1, 1]
    assert panel.low.isna().all()


def test_ratios_by_stage_are_drawn():
    ratios = pd.DataFrame({"infomax": ["1.5", "1.0"], "untrained": [1, 2]}, ["act1", "layer1"])
    figure = figures.by_stage({"glyphs": ratios})
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert drawn["ours"].tolist() == [1.5, 1]
    assert drawn["untrained"].tolist() == [1, 2]
