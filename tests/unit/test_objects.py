"""Saliency and segmentation on pixel masks: measures against values found another way, what is
measured again and what is not, and the verdict."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from PIL.ExifTags import Base
from scipy import stats
from sklearn.metrics import jaccard_score

import pipeline.objects.__main__ as command
from infomax_nb.analysis.saliency import centre_prior, inside_sure
from infomax_nb.config import TrainConfig
from infomax_nb.data.masks import MaskedPhotographs, read_masked
from infomax_nb.errors import ParameterError
from infomax_nb.files import file_digest, project_root
from infomax_nb.methods import initial
from infomax_nb.models import backbone
from pipeline.evidence.places import Places
from pipeline.evidence.rules import FAILS, HOLDS, UNDECIDED, UNFINISHED
from pipeline.evidence.runs import planned
from pipeline.objects import shares, verdict
from pipeline.objects.names import OTHERS, OURS, UNTRAINED
from pipeline.objects.networks import Candidate, candidates, missing
from pipeline.objects.results import CENTRE, keep, mean_iou, records
from pipeline.objects.results import values as values_of
from pipeline.objects.segmentation import (
    cell_features,
    cell_labels,
    counts,
    fit,
    placed,
    resized,
    segmented,
)
from pipeline.objects.tables import conclude, sentence

SIDE = 16


def halves(number: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks whose left half is the object, and nothing unsure."""
    mask = torch.zeros(number, SIDE, SIDE, dtype=torch.bool)
    mask[:, :, : SIDE // 2] = True
    return mask, torch.ones_like(mask)


# --- Shares -----------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [0.0, 0.3, 7.0])
def test_half_of_a_uniform_map_lies_in_half_of_the_picture(height):
    """A map of zeros counts as uniform."""
    found = inside_sure(torch.full((1, SIDE, SIDE), height), *halves())
    assert found["share"].tolist() == pytest.approx([50])
    assert found["hit"].tolist() == pytest.approx([50])


def test_unsure_pixels_count_neither_inside_nor_in_the_whole():
    mask, sure = halves()
    sure[:, :, :4] = False  # half of the object
    maps = torch.ones(1, SIDE, SIDE)
    maps[:, :, 12:] = 3.0
    maps[:, 0, 0] = 99.0  # the maximum is where nobody knows
    found = inside_sure(maps, mask, sure)
    inside = 4
    outside = 4 * 1 + 4 * 3
    assert found["share"][0] == pytest.approx(100 * inside / (inside + outside))
    assert found["hit"][0] == 0


def test_a_spot_is_inside_or_not():
    maps = torch.zeros(2, SIDE, SIDE)
    maps[0, 5, 2] = 1
    maps[1, 5, 12] = 1
    found = inside_sure(maps, *halves(2))
    assert found["share"].tolist() == [100, 0]
    assert found["hit"].tolist() == [100, 0]


@pytest.mark.parametrize("width", [1 / 8, 1 / 4, 1 / 2])
def test_the_centre_priors_share_is_the_normal_distributions(width):
    """In a band of columns, from the distribution function cut off at the picture's sides."""
    mask = torch.zeros(1, 128, 128, dtype=torch.bool)
    mask[:, :, 80:100] = True
    found = inside_sure(centre_prior(128, width)[None], mask, torch.ones_like(mask))
    normal = stats.norm(64, 128 * width).cdf
    expected = (normal(100) - normal(80)) / (normal(128) - normal(0))
    assert found["share"][0] == pytest.approx(100 * expected, rel=1e-3)


# --- Segmentation -----------------------------------------------------------------------------


def random_masks(number: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(number, SIDE, SIDE, generator=generator) > 0.6


def test_mean_iou_is_scikit_learns_over_all_sure_pixels():
    found, mask, sure = (random_masks(5, seed) for seed in range(3))
    parts = mean_iou(counts(found, mask, sure))
    known = sure.flatten().numpy()
    truth, seen = mask.flatten().numpy()[known], found.flatten().numpy()[known]
    assert parts.mean() == pytest.approx(100 * jaccard_score(truth, seen, average="macro"))


def test_the_photographs_parts_of_it_vary_as_the_jackknife_says():
    """Leaving out one photograph after another, of 60 whose scores differ."""
    mask = random_masks(60, 1)
    noise = torch.rand(60, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    found = mask ^ (noise < torch.linspace(0.05, 0.4, 60)[:, None, None])
    table = counts(found, mask, torch.ones_like(mask))
    without = [mean_iou(table.drop(k)).mean() for k in table.index]
    jackknife = 59 / 60 * np.square(np.subtract(without, np.mean(without))).sum()
    assert mean_iou(table).var() / 60 == pytest.approx(jackknife, rel=0.05)


def test_a_cell_is_what_most_of_its_sure_pixels_are():
    mask, sure = halves()
    mask[0, :4, 8:12] = True  # a cell of the background
    mask[0, 0, 8] = False
    sure[0, 12:, :4] = False  # a cell that nobody knows
    sure[0, 12:, 12:14] = False  # and one that is half known
    labels, known = cell_labels(mask, sure, 4)
    expected = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]])
    assert torch.equal(labels[0], expected.bool())
    assert known.sum() == 15
    assert not known[0, 3, 0]


def test_where_the_map_says_it_the_object_is_found():
    """Of two channels one is the mask of cells. Enlarged, the border lies between cells."""
    masks = random_masks(40, 4)[:, ::8, ::8].repeat_interleave(8, 1).repeat_interleave(8, 2)
    sure = torch.ones_like(masks)
    features = torch.stack([masks[:, ::8, ::8].float(), torch.randn(40, 2, 2)], 1)
    found = segmented(fit(features, masks, sure), features, SIDE)
    middles = (slice(None), slice(3, None, 8), slice(3, None, 8))
    assert torch.equal(found[middles], masks[middles])


def test_place_alone_finds_what_is_usual_there():
    """Logistic regression on one-hot places: the majority of each cell."""
    masks = random_masks(30, 5)
    masks[:, 4:12, 4:12] |= random_masks(30, 6)[:, 4:12, 4:12]
    sure = torch.ones_like(masks)
    features = placed(30, 8)
    model = fit(features, masks, sure)
    rows = features[0].permute(1, 2, 0).flatten(0, 1).numpy()
    usual = cell_labels(masks, sure, 8)[0].float().mean(0).flatten()
    clear = (usual - 0.5).abs() > 0.1
    assert np.array_equal(model.predict(rows)[clear], (usual > 0.5).numpy()[clear])


@pytest.mark.parametrize(("name", "channels"), [("resnet_small", 128), ("vit_mini", 128)])
def test_features_are_a_map_of_eight_cells(name, channels):
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    features = cell_features(backbone(name, "imagenet", 32).eval(), images)
    assert features.shape == (2, channels, 8, 8)


def test_a_plain_picture_stays_plain_when_it_is_scaled():
    plain = torch.full((1, 3, 128, 128), 77, dtype=torch.uint8)
    assert torch.equal(resized(plain, 32), plain[:, :, :32, :32])


# --- Reading ----------------------------------------------------------------------------------


def write(folder: Path, number: int = 6, width: int = 150, first: int = 0) -> Path:
    """Photographs 150 × 100 whose middle is red, with masks: red is the object, its rim unsure."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    lines = ["id,split"]
    for k in range(first, first + number):
        pixels = np.full((100, width, 3), 40 * k % 200, np.uint8)
        mask = np.zeros((100, width), np.uint8)
        left = width // 2 - 20
        mask[25:75, left : left + 40] = 128
        mask[30:70, left + 5 : left + 35] = 255
        pixels[mask == 255] = (250, 0, 0)
        Image.fromarray(pixels).save(folder / "images" / f"{k:03d}.jpg")
        Image.fromarray(mask).save(folder / "masks" / f"{k:03d}.png")
        lines.append(f"{k:03d},{'val' if k % 2 else 'trainaug'}")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder


def turn(photograph: Path) -> None:
    """Say in its metadata that it stands on its head."""
    with Image.open(photograph) as image:
        exif = image.getexif()
        exif[Base.Orientation] = 3
        image.save(photograph, exif=exif)


def test_a_photograph_may_be_called_na(tmp_path):
    write(tmp_path)
    for part, suffix in (("images", "jpg"), ("masks", "png")):
        (tmp_path / part / f"001.{suffix}").rename(tmp_path / part / f"NA.{suffix}")
    table = tmp_path / "images.csv"
    table.write_text(table.read_text().replace("001,val", "NA,val"))
    assert read_masked(tmp_path, "val").names == ["NA", "003", "005"]


def test_photographs_are_read_with_their_masks(tmp_path):
    photographs = read_masked(write(tmp_path), "val")
    assert photographs.names == ["001", "003", "005"]
    assert photographs.images.shape == (3, 3, 128, 128)
    assert photographs.masks.float().mean((1, 2)).tolist() == pytest.approx([0.12] * 3, abs=0.01)
    assert (~photographs.sure).float().mean().item() == pytest.approx(0.08, abs=0.01)
    red = photographs.images[:, 0][photographs.masks].float()
    assert red.mean() > 235
    assert len(read_masked(tmp_path)) == 6
    assert photographs.first(2).names == ["001", "003"]
    assert photographs.digest != photographs.first(2).digest


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "images" / "001.jpg").unlink(), "001.jpg"),
        (lambda folder: (folder / "masks" / "001.png").unlink(), "001.png"),
        (lambda folder: (folder / "images.csv").unlink(), "images.csv"),
        (lambda folder: (folder / "images.csv").write_text("id,split\n"), "no photograph"),
        (lambda f: Image.new("L", (9, 9)).save(f / "masks" / "001.png"), "the mask has"),
        (lambda f: Image.new("L", (150, 100), 7).save(f / "masks" / "001.png"), "0, 128 or 255"),
        (lambda f: Image.new("L", (150, 100)).save(f / "masks" / "001.png"), "shows no object"),
        (lambda f: turn(f / "images" / "001.jpg"), r"001.jpg .* EXIF turns it \(orientation 3\)"),
        (lambda f: (f / "images" / "001.jpg").write_bytes(b"\xff\xd8"), r"images/001.jpg'\.$"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, spoil, said):
    spoil(write(tmp_path))
    with pytest.raises(ParameterError, match=said):
        read_masked(tmp_path, "val")


def test_an_error_begins_with_the_parameter_that_names_the_folder(tmp_path):
    (write(tmp_path) / "masks" / "001.png").unlink()
    with pytest.raises(ParameterError, match="^masked_photos: there is no .*001.png"):
        read_masked(tmp_path, "val", parameter="masked_photos")


# --- The command ------------------------------------------------------------------------------


@pytest.fixture
def few(tmp_path, monkeypatch) -> SimpleNamespace:
    """A folder of photographs, one of results, and networks that count their loading."""
    loaded: list[str] = []

    def network(kind: str, seed: int, digest: str = "a") -> Candidate:
        config = TrainConfig(dataset="cifar10", seed=seed, device="cpu")

        def load() -> torch.nn.Module:
            loaded.append(f"{kind} {seed}")
            return initial(config, 10).backbone.eval()

        about = {"network": digest, "images": 8}
        return Candidate(kind, config, about, load, early=True)

    state = SimpleNamespace(found=[network(OURS, 0)], loaded=loaded, network=network)
    state.data, state.reports = write(tmp_path / "data", 8), tmp_path / "reports"
    monkeypatch.setattr(command, "candidates", lambda places, images: state.found)
    monkeypatch.setattr(command, "missing", lambda places: [])
    return state


def test_only_what_was_not_measured_is_measured(few):
    def measured() -> list[str]:
        few.loaded.clear()
        command.measure(str(few.data), few.reports)
        return few.loaded

    assert measured() == ["infomax 0"]
    kept = (few.reports / "objects_voc" / "photographs.csv").read_bytes()
    assert measured() == []
    assert (few.reports / "objects_voc" / "photographs.csv").read_bytes() == kept
    few.found.append(few.network(UNTRAINED, 0))
    assert measured() == ["untrained 0"]
    few.found[0] = few.network(OURS, 0, digest="b")  # trained anew
    assert measured() == ["infomax 0"]
    write(few.data, 8, width=160)
    assert measured() == ["infomax 0", "untrained 0"]
    assert set(shares(few.reports).columns) >= {(OURS, 0), (UNTRAINED, 0), (CENTRE, 0)}
    assert len(shares(few.reports)) == 4


def test_the_recorded_commit_is_that_before_anything_was_written(few, monkeypatch):
    """What the command writes itself is no change to the code that measured."""
    commits = iter(["before", "before-modified", "before-modified"])
    monkeypatch.setattr(command, "environment", lambda: {"commit": next(commits)})
    few.found.append(few.network(UNTRAINED, 0))
    command.measure(str(few.data), few.reports)
    assert {each["commit"] for each in records(few.reports)} == {"before"}
    assert len(records(few.reports)) == 2


def test_a_network_that_fails_leaves_what_was_measured(few):
    broken = few.network(UNTRAINED, 0)
    few.found.append(Candidate(UNTRAINED, broken.config, {}, lambda: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        command.measure(str(few.data), few.reports)
    assert (OURS, 0) in shares(few.reports)
    few.loaded.clear()
    few.found[1] = broken
    command.measure(str(few.data), few.reports)
    assert few.loaded == ["untrained 0"]


def test_the_networks_that_are_missing_are_the_plans():
    """Ours and SimCLR on CIFAR-10, ours on the twenty classes, three seeds each."""
    named = missing(Places(reports=Path("nowhere")))
    assert len(named) == 9
    assert {name.split("_")[1] for name in named} == {"kappa10", "simclr"}


def blank_photographs() -> MaskedPhotographs:
    """Eight of noise, without objects."""
    pictures = torch.randint(0, 256, (8, 3, 128, 128), dtype=torch.uint8)
    blank = torch.zeros(8, 128, 128, dtype=torch.bool)
    return MaskedPhotographs(list("abcdefgh"), pictures, blank, ~blank)


def test_untrained_networks_are_what_the_plans_runs_begin_with():
    """The convolutions of each seed; the run itself knows ten classes, the photographs one."""
    found = candidates(Places(), blank_photographs())
    beginnings = [each for each in found if each.kind == UNTRAINED]
    assert [each.config.seed for each in beginnings] == [0, 1, 2]
    ours = [run.config for run in planned(Places()) if run.name.endswith("kappa10_seed1")]
    expected = initial(ours[0], 10).backbone.state_dict()
    net = beginnings[1].load()
    assert not net.training
    for name, value in net.state_dict().items():
        if "conv" in name:
            assert torch.equal(value, expected[name])


def test_a_kept_network_is_the_recorded_one():
    """The network of the plan's first run."""
    kept = [each for each in candidates(Places(), blank_photographs()) if each.kind == OURS]
    path = project_root() / "reports" / "late_a" / "kappa10_seed0" / "backbone.pt"
    assert kept[0].about["network"] == file_digest(path)
    assert not kept[0].load().training


# --- The verdict ------------------------------------------------------------------------------


def simulated(reports: Path, lead: float, seeds=(0, 1, 2), spread: float = 0.3) -> pd.DataFrame:
    """Shares of 50 photographs: ours `lead` points above the untrained networks and the prior."""
    generator = np.random.default_rng(0)
    names = [f"{k:03d}" for k in range(50)]
    easy = generator.normal(40, 10, 50)
    counted = {"tp": 1, "fp": 1, "fn": 1, "tn": 1}
    tables = {(CENTRE, 0): easy}
    for seed in seeds:
        tables[OURS, seed] = easy + lead + generator.normal(0, spread) + generator.normal(0, 1, 50)
        tables[UNTRAINED, seed] = easy + generator.normal(0, 1, 50)
    for (kind, seed), values in tables.items():
        table = pd.DataFrame({"share": values.round(2), **counted}, index=names)
        config = {"config": {}} if kind != CENTRE else {}
        keep(table, {"kind": kind, "seed": seed, "photographs": {}, **config}, reports)
    return pd.DataFrame(tables)


@pytest.mark.parametrize(
    ("lead", "seeds", "answer"),
    [
        (5, (0, 1, 2), HOLDS),
        (-5, (0, 1, 2), FAILS),
        (5, (0, 1), UNFINISHED),
        (5, (0,), UNFINISHED),
        (5, (), UNFINISHED),
    ],
)
def test_the_verdict_on_simulated_shares(tmp_path, lead, seeds, answer):
    simulated(tmp_path, lead, seeds)
    found = verdict(tmp_path)
    assert found.answer == answer
    assert found.numbers["seeds"].tolist() == [len(seeds)] * 2
    assert answer in sentence(found)


def test_networks_that_disagree_leave_it_undecided(tmp_path):
    simulated(tmp_path, 1, spread=8)
    assert verdict(tmp_path).answer == UNDECIDED


def test_the_interval_is_over_networks_with_the_photographs_variance(tmp_path):
    """Student's t with two degrees of freedom, and the covariance of the networks' differences."""
    table = simulated(tmp_path, 2).round(2)
    gaps = np.array([table[OURS, s] - table[UNTRAINED, s] for s in range(3)])
    covariance = np.mean([np.cov(gaps[a], gaps[b])[0, 1] for a, b in ((0, 1), (0, 2), (1, 2))])
    error = np.sqrt(gaps.mean(1).var(ddof=1) / 3 + max(covariance, 0) / 50)
    row = verdict(tmp_path).numbers.loc["less untrained"]
    assert row["mean"] == pytest.approx(gaps.mean())
    assert row["error"] == pytest.approx(error)
    assert row["low"] == pytest.approx(gaps.mean() - stats.t.ppf(0.95, 2) * error)


def test_nothing_measured_is_said(tmp_path):
    assert verdict(tmp_path).answer == UNFINISHED
    with pytest.raises(ParameterError, match="holds no measured network"):
        conclude(tmp_path)


# --- What is committed ------------------------------------------------------------------------

KEPT = project_root() / "reports" / "objects_voc"


def test_what_is_committed_follows_from_the_photographs(tmp_path):
    """`--recompute`, on a copy of the two files that it reads."""
    folder = tmp_path / "objects_voc"
    folder.mkdir()
    for name in ("photographs.csv", "records.json"):
        shutil.copy(KEPT / name, folder)
    conclude(tmp_path)
    for name in ("verdict.csv", "beside.csv", "intervals.csv", "table.csv", "caption.txt"):
        assert (folder / name).read_text("utf-8") == (KEPT / name).read_text("utf-8"), name


def test_a_committed_share_is_the_mean_of_its_photographs():
    """By plain reading of the file."""
    rows = pd.read_csv(KEPT / "photographs.csv")
    means = rows.groupby(["kind", "seed"])["share"].mean()
    found = pd.read_csv(KEPT / "intervals.csv")
    of_kinds = found[(found.measure == "share") & ~found.less].set_index("kind")["mean"]
    for kind, mean in of_kinds.items():
        assert means[kind].mean() == pytest.approx(mean, abs=1e-3)
    assert len(values_of("share")) == rows.photograph.nunique() == 304


def test_committed_records_name_no_folder_of_a_machine():
    for path in KEPT.parent.glob("**/record*.json"):
        text = path.read_text("utf-8")
        assert not re.findall(r'": "(?:[A-Z]:)?[/\\\\][^"]*"', text), path


def test_networks_beside_are_compared_with_the_untrained_one_of_their_seed():
    """The mean of the three networks' differences, and their interval without the photographs."""
    found = pd.read_csv(KEPT / "beside.csv").set_index(["measure", "kind", "less"])
    table = shares()
    for reference in (UNTRAINED, CENTRE):
        row = found.loc["share", OTHERS, reference]
        gaps = []
        for seed in table[OTHERS]:
            other = table[reference, 0 if reference == CENTRE else seed]
            gaps.append((table[OTHERS, seed] - other).mean())
        assert row["mean"] == pytest.approx(np.mean(gaps), abs=1e-3)
        assert row.error >= stats.sem(gaps) - 1e-4


def test_committed_counts_are_the_masks_pixels():
    """Every network saw the same animals: tp + fn is the same for all."""
    rows = pd.read_csv(KEPT / "photographs.csv").dropna(subset=["tp"])
    animal = (rows.tp + rows.fn).groupby(rows.photograph)
    background = (rows.fp + rows.tn).groupby(rows.photograph)
    assert (animal.nunique() == 1).all()
    assert (background.nunique() == 1).all()
    uniform = shares()["uniform", 0]
    expected = 100 * animal.first() / (animal.first() + background.first())
    assert np.allclose(uniform, expected.loc[uniform.index], atol=0.01)


def texts_on_masks() -> list[str]:
    """Where numbers of this result are quoted: a section of notebook 06, and reports/README.md."""
    root = project_root()
    cells = nbformat.read(root / "notebooks" / "06_saliency.ipynb", 4).cells
    section = [cell.source for cell in cells if cell.id.startswith("d06-pixel")]
    readme = (root / "reports" / "README.md").read_text("utf-8")
    return [*section, *re.findall(r"(?m)^- \*\*Pixel masks.*(?:\n  .*)*", readme)]


def test_the_numbers_in_texts_are_the_committed_ones():
    """Each number with one decimal is a mean or an end of an interval, or one network's share."""
    tables = [pd.read_csv(KEPT / f"{name}.csv") for name in ("intervals", "beside")]
    found = pd.concat(tables)[["mean", "low", "high"]].to_numpy().ravel()
    networks = shares().mean().to_numpy()
    known = {f"{abs(number):.1f}" for number in [*found, *networks] if number == number}
    texts = texts_on_masks()
    assert len(texts) > 5
    quoted = [number for text in texts for number in re.findall(r"\b\d+\.\d\b", text)]
    assert len(quoted) > 20
    assert set(quoted) <= known


def test_the_notebook_gives_the_verdict():
    section = "\n".join(texts_on_masks())
    assert f"the verdict is “{verdict().answer}”" in section
