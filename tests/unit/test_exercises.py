"""The notebooks' exercises: what a student is asked, what `check` accepts and refuses, and that no
hint gives it away.

The answers are those of docs/instructors.md. Where one can be computed quickly it is computed here,
in another way.
"""

import ast
import json
import math
import re
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import minimize_scalar
from scipy.special import ive
from scipy.stats import spearmanr, vonmises_fisher
from sklearn.metrics import adjusted_rand_score

from infomax_nb.analysis.centroids import hierarchy, lca_height, tree_distance
from infomax_nb.config import TrainConfig
from infomax_nb.data.loading import load
from infomax_nb.data.sampling import stratified
from infomax_nb.errors import ParameterError
from infomax_nb.exercises import EXERCISES, check
from infomax_nb.methods import build
from infomax_nb.views.pixels import IMAGENET_MEAN, IMAGENET_STD
from infomax_nb.views.recipes import dino_views

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
PAGE = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
ANSWERS = {
    name: ast.literal_eval(answer)
    for name, answer in re.findall(r'(?m)^\*\*.*?`check\("([\d-]+)", (.+?)\)`: ', PAGE)
}
NUMBERS = [name for name, exercise in EXERCISES.items() if not exercise.words]
WORDS = [name for name, exercise in EXERCISES.items() if exercise.words]


def listed(answer) -> list:
    return answer if isinstance(answer, list) else [answer]


def cells(notebook: Path) -> list[str]:
    return [
        "".join(cell["source"])
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    ]


# --- What stands in the notebooks -----------------------------------------------------------------


def test_every_notebook_has_three_exercises_that_check_knows():
    expected = [f"{number}-{k}" for number in NOTEBOOKS for k in (1, 2, 3)]
    assert list(EXERCISES) == expected
    assert list(ANSWERS) == expected


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_goals_exercises_and_hints(number):
    texts = cells(NOTEBOOKS[number])
    assert texts[0].count("**After it you can**") == 1
    (place,) = [k for k, text in enumerate(texts) if text.startswith("<details><summary>Hints")]
    hints = texts[place]
    before = f"\n{texts[place - 1]}"
    assert before.count("\n## Exercises\n") == 1
    asked = before.partition("\n## Exercises\n")[2]
    assert re.findall(r"(?m)^(\d)\. \*\*[^*]+\*\*", asked) == ["1", "2", "3"]
    assert f'check("{number}-1", answer)' in asked
    assert "from infomax_nb.exercises import check" in asked
    assert hints.endswith("</details>")
    assert re.findall(r"(?m)^(\d)\. ", hints) == ["1", "2", "3"]
    for k in (1, 2, 3):
        exercise = EXERCISES[f"{number}-{k}"]
        assert f"*Check `{number}-{k}`: {exercise.asks}.*" in asked  # as `check` says it
        assert f"\n{k}. {exercise.hint}\n" in hints


def test_tolerances_are_said():
    for name in NUMBERS:
        asked = EXERCISES[name]
        said = {float(number) for number in re.findall(r"within (\d+(?:\.\d+)?)", asked.asks)}
        assert said == {within for within in asked.within if within}, name
        exact = "exactly" in asked.asks or "the last within" in asked.asks
        assert (0 in asked.within) == exact, name


def numbers_in(text: str) -> list[str]:
    return re.findall(r"\d[\d,]*(?:\.\d+)?", text)


def value(number: str) -> float:
    return float(number.replace(",", ""))


def with_tolerance(name: str) -> list[tuple[float, float]]:
    """Each number of an answer, without its sign, and how far from it is right, too."""
    sizes = map(abs, listed(ANSWERS[name]))
    return list(zip(sizes, EXERCISES[name].within, strict=True))


def given_away(text: str, name: str) -> list[float]:
    """Numbers of an answer, of three digits and more, that stand in the text, rounded or not."""
    said = [value(number) for number in numbers_in(text) if len(number) > 2]
    found = []
    for answer, within in with_tolerance(name):
        digits = f"{answer:g}".replace(".", "").lstrip("0")
        limit = min(within, 0.01 * answer)
        if len(digits) > 2 and any(abs(answer - number) <= limit for number in said):
            found.append(answer)
    return found


def test_nothing_gives_an_answer_away():
    """No notebook holds a number of an answer, and no hint a number or a word that would be
    right."""
    for name, asked in EXERCISES.items():
        if asked.words:
            for word in listed(ANSWERS[name]):
                assert not re.search(rf"\b{re.escape(word)}\b", asked.hint), name
            continue
        told = cells(NOTEBOOKS[name[:2]])
        exercises = told[-2].partition("\n## Exercises\n")[2]
        for text in (exercises, told[-1], asked.asks):
            assert not given_away(text, name), name
        hinted = [value(number) for number in numbers_in(asked.hint)]
        for answer, within in with_tolerance(name):
            assert not [number for number in hinted if abs(number - answer) <= within], name


# --- What is accepted and refused -----------------------------------------------------------------


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name):
    """Within the tolerance on both sides, and off by more than it on both sides, place by place."""
    within = EXERCISES[name].within
    right = listed(ANSWERS[name])
    given = right if len(right) > 1 else right[0]
    assert check(name, given)
    assert check(name, given).text == f"{name}: right."
    for sign in (-1, 1):
        near = [a + sign * 0.98 * w for a, w in zip(right, within, strict=True)]
        assert check(name, near), near
        for place, (answer, w) in enumerate(zip(right, within, strict=True)):
            off = 1.02 * w or 0.01
            wrong = [*right[:place], answer + sign * off, *right[place + 1 :]]
            verdict = check(name, wrong)
            assert not verdict, wrong
            some = f" {len(right) - 1} of {len(right)} are right." if len(right) > 1 else ""
            assert verdict.text == repr(verdict) == f"{name}: not yet.{some} {EXERCISES[name].hint}"


@pytest.mark.parametrize("name", WORDS)
def test_words(name):
    right = listed(ANSWERS[name])
    words = EXERCISES[name].words
    assert check(name, right)
    assert check(name, [f"  {word.upper()} " for word in right])
    assert len(right) > 1 or check(name, right[0])
    for place in range(len(right)):
        for word in set(words) - {right[place]}:
            assert not check(name, [*right[:place], word, *right[place + 1 :]])


@pytest.mark.parametrize("name", EXERCISES)
def test_the_answers_are_those_of_the_instructors_page(name):
    assert EXERCISES[name].answer == listed(ANSWERS[name])


def test_a_tolerance_includes_its_ends():
    """Decimals are rounded in binary: 0.284 + 0.01 is more than 0.01 away from 0.284."""
    assert 0.294 - 0.284 > 0.01
    assert check("07-2", 0.294)
    assert check("07-2", 0.274)
    assert not check("07-2", 0.2941)


# --- What is not an answer ------------------------------------------------------------------------


def refusal(*given) -> str:
    with pytest.raises(ParameterError) as error:
        check(*given)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("name", ["99-1", "00-4", "0-1", "", "notebook 00", None, 5, ["00-1"]])
def test_unknown_exercises(name):
    said = refusal(name, 1.0)
    assert said.startswith(f"exercise = {name!r} is not allowed: it must be one of 00-1, 00-2, ")


NO_NUMBERS = [None, math.nan, math.inf, -math.inf, "6.93", "six", "", b"1", True, 1j, print]
NO_NUMBERS += [{}, {1.0}, [], [1.0, 2.0], [[1.0]], np.array([1.0, 2.0]), np.array("a"), np.True_]
NO_NUMBERS += [torch.tensor(math.nan), torch.ones(1, 1), pd.Series([1.0, None])]


@pytest.mark.parametrize("answer", NO_NUMBERS)
def test_no_number(answer):
    said = refusal("00-1", answer)
    assert said.startswith("answer = ")
    assert len(said) < 250
    assert said.endswith(" is not allowed: exercise 00-1 asks for the bound in nats, within 0.01.")


@pytest.mark.parametrize(
    "answer", [5.0, [1, 2], [1, 2, 3, 4], ["1", "2", "3"], [1, 2, None], [1, 2, math.nan]]
)
def test_no_list_of_three(answer):
    assert EXERCISES["05-3"].asks in refusal("05-3", answer)


@pytest.mark.parametrize("answer", [None, 1.0, "up", "", ["stays", "stays"], [None], "rise"])
def test_no_word_of_the_list(answer):
    assert all(word in refusal("07-1", answer) for word in ("rises", "falls", "stays"))


KINDS = [float, np.float32, np.array, torch.tensor, partial(torch.tensor, requires_grad=True)]
ONE_IN_A_LIST = [list, tuple, np.array, torch.tensor, pd.Series]


@pytest.mark.parametrize("kind", [*KINDS, *(lambda x, of=of: of([x]) for of in ONE_IN_A_LIST)])
def test_kinds_of_numbers(kind):
    assert check("00-1", kind(ANSWERS["00-1"]))
    assert not check("00-1", kind(ANSWERS["00-1"] + 1))


def test_a_notebook_shows_one_line():
    """The representation is the sentence; a script may take it as true or false."""
    assert repr(check("00-1", ANSWERS["00-1"])) == "00-1: right."
    assert bool(check("00-1", 0)) is False


# --- The answers, computed in another way ---------------------------------------------------------


def peak(dim: int, kappa: float) -> float:
    """log of the kernel at its centre, by scipy's Bessel function."""
    nu = dim / 2 - 1
    constant = (nu + 1) * math.log(2 * math.pi)
    return nu * math.log(kappa) - constant - math.log(ive(nu, kappa))


def apart(shared: int, ratio: float) -> float:
    """Degrees between the middles of a group's images in notebook 00's toy, by angles and gradients
    written out."""
    own = torch.arange(24).reshape(6, 4)
    own[1::2, :shared] = own[::2, 4 - shared :].clone()
    flat = own.flatten()
    image = torch.arange(24) // 4
    other = ~torch.eye(24, dtype=torch.bool)
    same = image[:, None] == image
    noise = torch.randn(24, generator=torch.Generator().manual_seed(0))
    start = torch.deg2rad((15.0 * torch.arange(24) + 5 * noise).double())
    x = torch.stack([start.cos(), start.sin()], 1).requires_grad_()
    velocity = torch.zeros_like(x)
    for _ in range(200):
        z = (x / x.norm(dim=1, keepdim=True))[flat]
        k = 10 * z @ z.T
        every = k.masked_fill(~other, -math.inf).logsumexp(1).mean()
        positive = k.masked_fill(~(other & same), -math.inf).logsumexp(1).mean()
        (gradient,) = torch.autograd.grad(every - ratio * positive, x)
        velocity = 0.9 * velocity + gradient
        x = (x - 0.5 * velocity).detach().requires_grad_()
    middle = (x / x.norm(dim=1, keepdim=True))[own].mean(1)
    middle = middle / middle.norm(dim=1, keepdim=True)
    cosine = (middle[::2] * middle[1::2]).sum(1).clamp(-1, 1)
    return float(torch.rad2deg(cosine.acos()).mean().detach())


def merging(shared: int) -> float:
    return next(r / 10 for r in range(10, 21) if apart(shared, r / 10) < 1)


def counted_with_itself() -> float:
    """128 images of 8 coinciding views, images orthogonal, a kernel so sharp that nothing else
    counts."""
    similarity = np.kron(np.eye(128), np.ones((8, 8)))
    kernel = np.exp(500 * (similarity - 1))
    own = np.kron(np.eye(128), np.ones((8, 8)))
    of_own = (kernel * own).sum(1) / 8
    of_all = kernel.sum(1) / 1024
    return float(np.log(of_own / of_all).mean())


@cache
def symbols():
    return load("glyphs"), load("glyphs", split="test")


def lost_by_raw_pixels() -> float:
    """The nearest image's class, and votes of 400 with exp(similarity / 0.1), by sorting in
    NumPy."""
    train, test = symbols()
    unit = []
    for part in (train, test):
        x = part.images.permute(0, 2, 3, 1).float().numpy() / 255
        x = ((x - IMAGENET_MEAN) / IMAGENET_STD).reshape(len(x), -1)
        unit.append(x / np.linalg.norm(x, axis=1)[:, None])
    rows, queries = unit
    similar = queries @ rows.T
    labels = train.labels.numpy()
    near = np.argpartition(-similar, 400, axis=1)[:, :400]
    weights = np.exp(np.take_along_axis(similar, near, 1) / 0.1)
    votes = np.stack([(weights * (labels[near] == k)).sum(1) for k in range(48)], 1)
    truth = test.labels.numpy()
    nearest = (labels[similar.argmax(1)] == truth).mean()
    voted = (votes.argmax(1) == truth).mean()
    return 100 * float(nearest - voted)


@cache
def pixels():
    """Class means of raw pixels (48, 3072), and the tree's paths."""
    _, test = symbols()
    x = test.images.permute(0, 2, 3, 1).double().numpy() / 255
    x = (x - IMAGENET_MEAN) / IMAGENET_STD
    x = x.reshape(len(x), -1)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([x[test.labels == k].mean(0) for k in range(48)])
    return means, hierarchy(test.classes, None, test.coarse, test.coarse_names)


def pairs(matrix) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def distances(means) -> np.ndarray:
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    return 1 - unit @ unit.T


def centred_pixels() -> float:
    means, paths = pixels()
    return spearmanr(pairs(distances(means - means.mean(0))), pairs(tree_distance(paths))).statistic


def linkages() -> list[float]:
    means, paths = pixels()
    groups = [path[0] for path in paths]
    found = []
    for name in ("single", "complete", "ward"):
        clusters = fcluster(linkage(pairs(distances(means)), name), 8, "maxclust")
        found.append(adjusted_rand_score(groups, clusters))
    return found


def pull_ends() -> list[float]:
    """The loss of a view with seven positives at cosine s and 1,016 others at 0 is least there."""
    angles = []
    for ratio in (0.5, 0.75):

        def loss(s, ratio=ratio):
            positives = 7 * math.exp(10 * s)
            return math.log(positives + 1016) - ratio * math.log(positives)

        least = minimize_scalar(loss, bounds=(-1, 1), method="bounded", options={"xatol": 1e-9}).x
        angles.append(math.degrees(math.acos(least)))
    return angles


def height_is_half_the_distance() -> str:
    _, paths = pixels()
    return "stays" if np.array_equal(2 * lca_height(paths), tree_distance(paths)) else "changes"


def priors() -> list[float]:
    """Ratios of a narrow and a wide Gaussian in the middle."""
    _, test = symbols()
    masks = test.masks[stratified(test.labels, 1000, 0)].double().numpy()
    at = np.arange(32) - 15.5
    ratios = []
    for part in (8, 2):
        squares = at[:, None] ** 2 + at**2
        gaussian = np.exp(-squares / 2 / (32 / part) ** 2)
        share = (masks * gaussian).sum((1, 2)) / gaussian.sum()
        ratios.append(float((share / masks.mean((1, 2))).mean()))
    return ratios


def projectors() -> list[int]:
    methods = [build(TrainConfig(proj_dim=d), 48) for d in (128, 4096)]
    numbers = []
    for method in methods:
        layers = [m for m in method.projector.modules() if isinstance(m, torch.nn.Linear)]
        numbers.append(sum(p.numel() for p in layers[-1].parameters()))
    return [*numbers, sum(p.numel() for p in methods[0].backbone.parameters())]


def committed_seeds() -> float:
    metrics = pd.read_csv(ROOT / "reports" / "methods_glyphs" / "metrics.csv")
    last = metrics[metrics.epoch == metrics.epoch.max()]
    return float(last[last.method == "infomax"].knn_top1.mean())


def turned() -> list[float]:
    """The gradient of cos(z, c) at z = (3, 4), c = (0, 2), by differences."""
    c = np.array([0.0, 2.0])

    def cosine(z):
        return z @ c / np.linalg.norm(z) / np.linalg.norm(c)

    z = np.array([3.0, 4.0])
    steps = 1e-5 * np.eye(2)
    return [(cosine(z + step) - cosine(z - step)) / 2e-5 for step in steps]


def forgotten() -> int:
    """The first number of epochs of 39 steps after which less than 1% of the start is left."""
    for epochs in range(2, 100):
        angles = np.pi * np.arange(epochs) / (epochs - 1)
        momentum = 1 - 0.004 * (1 + np.cos(angles)) / 2
        if (momentum**39).prod() < 0.01:
            return epochs
    return 0


def of_ten() -> list[float]:
    """C(n - r, c - 1) / C(n - 1, c - 1) for the worst and the best ranks that top-1 and top-5 leave
    open."""
    first = {r: math.comb(1000 - r, 9) / math.comb(999, 9) for r in (1, 2, 5, 6, 1000)}
    return [52.12 * first[1] + 25.69 * first[a] + 22.19 * first[b] for a, b in ((5, 1000), (2, 6))]


def window() -> list[float]:
    """Falls of Eq. 2, written out in float64 on draws of scipy's."""
    found = []
    for concentration in (10, 100, 1000):
        z = vonmises_fisher(np.eye(128)[0], concentration).rvs(1024, random_state=5)
        kernel = np.exp(10 * (z @ z.T - 1))
        np.fill_diagonal(kernel, 0)
        density = kernel.sum(1) / 1023
        found.append(-np.log(density).mean() - peak(128, 10))
    return [a - b for a, b in pairwise(found)]


COMPUTED = {
    "00-1": lambda: math.log(512 * 2 - 1) - math.log(1),
    "00-2": lambda: [merging(2), merging(3)],
    "00-3": counted_with_itself,
    "01-1": lambda: [2 * 128, 2 - 1, math.log(255)],
    "01-2": committed_seeds,
    "01-3": lambda: [-peak(128, 10), -peak(128, 10) - math.log(7 / 1023)],
    "02-1": lost_by_raw_pixels,
    "03-3": lambda: [
        math.degrees(math.acos(1 + math.log(0.5) / kappa)) for kappa in (0.6931472, 1, 10, 20)
    ],
    "04-1": pull_ends,
    "05-2": lambda: 10 * 2**2.5,
    "05-3": projectors,
    "06-2": priors,
    "06-3": turned,
    "07-1": height_is_half_the_distance,
    "07-2": centred_pixels,
    "07-3": linkages,
    "08-2": lambda: (
        sum(v.size**2 for v in dino_views(32)) / sum(v.size**2 for v in dino_views(32)[:2])
    ),
    "08-3": forgotten,
    "09-2": of_ten,
    "10-1": window,
    "10-3": lambda: [math.log(1023 / (views - 1)) for views in (2, 16, 64, 128)],
}


@pytest.mark.parametrize("name", COMPUTED)
def test_answers_computed_in_another_way(name):
    answer = COMPUTED[name]()
    verdict = check(name, answer)
    assert verdict, (answer, verdict)
