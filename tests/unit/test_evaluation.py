"""Evaluation of frozen features against scikit-learn, NumPy and plain PyTorch loops."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as vision
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from infomax_nb.data.image_set import ImageSet
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation import representation
from infomax_nb.evaluation.neighbours import knn, nearest, topk_accuracy, usual_k
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.evaluation.probe import colour_statistics, converged_probe
from infomax_nb.evaluation.representation import effective_rank, features
from infomax_nb.seeds import stream

MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_rows(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=generator(seed))


def standardised(images: torch.Tensor) -> torch.Tensor:
    """By torchvision's `normalize`."""
    return vision.normalize(images / 255, MEAN, STD)


def network() -> nn.Module:
    """Convolution, BatchNorm that has seen data, pooling: 12 features."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, 2, 1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    net.train()
    for _ in range(5):
        net(torch.randn(16, 3, 16, 16) * 2 + 1)
    return net


def image_set(n: int, seed: int, classes: int = 6) -> ImageSet:
    """Images whose mean colour tells the class, so that there is something to learn."""
    labels = torch.randint(0, classes, (n,), generator=generator(seed))
    colours = torch.randint(40, 216, (classes, 3, 1, 1), generator=generator(99))
    noise = torch.randn(n, 3, 16, 16, generator=generator(seed + 1))
    images = colours[labels] + 40 * noise
    names = [str(k) for k in range(classes)]
    return ImageSet(images.clamp(0, 255).byte(), labels, names)


# --- k-NN -----------------------------------------------------------------------------------------


def votes_by_sklearn(bank, labels, queries, n_classes, k, temperature=0.1) -> np.ndarray:
    """Those of scikit-learn's cosine neighbours, weighted by exp(similarity / temperature)."""
    neighbours = NearestNeighbors(n_neighbors=k, metric="cosine").fit(bank)
    distance, index = neighbours.kneighbors(queries)
    votes = np.zeros((len(queries), n_classes))
    rows = np.arange(len(queries))[:, None]
    weights = np.exp((1 - distance) / temperature)
    np.add.at(votes, (rows, np.asarray(labels)[index]), weights)
    return votes


@pytest.mark.parametrize(
    ("n_bank", "k", "temperature"), [(1500, 200, 0.1), (1500, 60, 0.5), (120, 200, 0.1)]
)
def test_knn_ranks_as_scikit_learns_neighbours_vote(n_bank, k, temperature):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 24))
    labels = rng.integers(0, 10, n_bank)
    truth = rng.integers(0, 10, 300)
    bank = centres[labels] + 3 * rng.normal(size=(n_bank, 24))
    queries = centres[truth] + 3 * rng.normal(size=(300, 24))
    bank *= rng.uniform(0.1, 5, (n_bank, 1))  # lengths don't matter

    votes = votes_by_sklearn(bank, labels, queries, 10, min(k, n_bank), temperature)
    assert (np.sort(votes)[:, -5:] > 0).all()  # else the order of the fifth is no question
    reference = np.argsort(-votes, axis=1)

    rows = [torch.from_numpy(a).float() for a in (bank, queries)]
    got = knn(rows[0], torch.from_numpy(labels), rows[1], 10, k, temperature)
    assert got.shape == (300, 10)
    assert (got.numpy()[:, :5] == reference[:, :5]).all()
    assert (got.sort(1).values == torch.arange(10)).all()
    assert 0.2 < (reference[:, 0] == truth).mean() < 0.9  # neither trivial nor hopeless


@pytest.mark.parametrize(
    ("images", "k"), [(60_000, 200), (1000, 200), (999, 199), (144, 28), (5, 1), (2, 1)]
)
def test_no_more_neighbours_vote_than_make_sense(images, k):
    """The usual 200, and at most a fifth of the images that there are."""
    assert usual_k(images) == k
    bank = random_rows(images, 8)
    queries = random_rows(3, 8, seed=1)
    labels = torch.arange(images) % 3
    expected = knn(bank, labels, queries, 3, k)
    assert torch.equal(knn(bank, labels, queries, 3), expected)


def test_no_neighbours_are_refused():
    with pytest.raises(ParameterError, match="k = 0 is not allowed: it must be at least 1"):
        knn(torch.eye(3), torch.arange(3), torch.eye(3), 3, k=0)


def test_knn_in_chunks_equals_one_by_one():
    """Enough classes that the memory bound cuts the queries into several chunks."""
    bank = random_rows(400, 8)
    queries = random_rows(70, 8, seed=1)
    labels = torch.arange(400)  # 200 neighbours x 6,000 classes: 41 queries a chunk
    got = knn(bank, labels, queries, 6000, 200)
    unit = nn.functional.normalize
    cosine = unit(queries.double()) @ unit(bank.double()).T
    expected = cosine.argsort(1, descending=True)
    assert torch.equal(got[:, :50], expected[:, :50])


def test_the_nearest_rows_are_scikit_learns_neighbours():
    bank = random_rows(50, 6)
    queries = random_rows(9, 6, seed=1)
    neighbours = NearestNeighbors(n_neighbors=4, metric="cosine").fit(bank.numpy())
    index = neighbours.kneighbors(queries.numpy(), return_distance=False)
    scaled = bank * torch.rand(50, 1)
    assert nearest(scaled, queries, 4).tolist() == index.tolist()


# --- Numbers --------------------------------------------------------------------------------------


def test_topk_accuracy_by_hand():
    ranked = torch.tensor([[2, 0, 1, 3], [1, 2, 0, 3], [0, 3, 2, 1], [3, 1, 0, 2]])
    labels = torch.tensor([2, 0, 3, 2])  # first, third, second, fourth
    accuracies = [topk_accuracy(ranked, labels, k) for k in (1, 2, 3, 4)]
    assert accuracies == [25, 50, 75, 100]


@pytest.mark.parametrize("shape", [(300, 20), (15, 40), (20, 40_000)])  # the last: few raw pictures
def test_effective_rank_equals_numpys_singular_values(shape):
    scale = torch.logspace(0, -3, shape[1])
    x = random_rows(*shape) * scale + 5
    rows = x.double().numpy()
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    share = values / values.sum()
    share = share[share > 1e-12]
    entropy = -(share * np.log(share)).sum()
    assert effective_rank(x) == pytest.approx(np.exp(entropy), rel=1e-4)


def test_effective_rank_of_known_cases():
    cross = torch.cat([torch.eye(7), -torch.eye(7)])
    assert effective_rank(cross) == pytest.approx(7, abs=1e-6)
    line = torch.linspace(-1, 1, 50)[:, None] * torch.ones(5)
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.full((30, 5), 0.1)) == pytest.approx(1, abs=1e-3)


def test_flattening_gives_standardised_pixels():
    images = image_set(4, 0).images
    expected = standardised(images).flatten(1)
    assert torch.allclose(features(torch.nn.Flatten(), images), expected, atol=1e-5)


# --- Features -------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_features_are_those_of_each_image_alone(training):
    net = network().train(training)
    images = image_set(515, 3).images  # more than one batch
    before = {name: t.clone() for name, t in net.state_dict().items()}
    got = features(net, images)
    assert got.shape == (515, 12)
    assert got.dtype == torch.float32
    assert not got.requires_grad
    assert net.training == training
    assert all(m.training == training for m in net.modules())
    for name, t in net.state_dict().items():
        assert torch.equal(t, before[name]), name

    net.eval()
    with torch.no_grad():
        alone = torch.cat([net(standardised(image[None])) for image in images])
    torch.testing.assert_close(got, alone, rtol=0, atol=1e-5)
    net.train()  # a batch's own statistics differ
    assert (net(standardised(images)) - got).abs().max() > 1e-2


def test_features_leave_a_frozen_part_frozen():
    net = network()
    net[1].eval()
    features(net, image_set(4, 0).images)
    assert net.training
    assert not net[1].training


# --- The evaluation after an epoch ----------------------------------------------------------------


def plain_evaluation(train: ImageSet, test: ImageSet, net: nn.Module, seed: int):
    """Three evaluations written out: what the head ranks after each, and the head."""
    net.eval()
    with torch.no_grad():
        x = net(standardised(train.images))
        queries = net(standardised(test.images))
    torch.manual_seed(stream(seed, 0, 3))
    head = nn.Linear(12, 6)
    adam = torch.optim.Adam(head.parameters(), lr=1e-3)
    rankings = []
    for epoch in range(3):
        order = generator(stream(seed, epoch, 4))
        for _ in range(2):
            permutation = torch.randperm(700, generator=order)
            for rows in (permutation[:256], permutation[256:512], permutation[512:]):
                adam.zero_grad()
                nn.functional.cross_entropy(head(x[rows]), train.labels[rows]).backward()
                adam.step()
        rankings.append(head(queries).argsort(1, descending=True))
    return rankings, head, x, queries


@pytest.mark.parametrize("interrupted", [False, True])
def test_online_evaluation_equals_a_plain_loop(interrupted):
    """Adam's state and the head go on from one evaluation to the next, through a checkpoint too."""
    train = image_set(700, 10)
    test = image_set(200, 20)
    net = network()
    evaluation = OnlineEvaluation(train, test, 12, 5, torch.device("cpu"))
    got = []
    for epoch in range(3):
        if interrupted and epoch == 2:
            saved = evaluation.state_dict()
            evaluation = OnlineEvaluation(train, test, 12, 5, torch.device("cpu"))
            evaluation.load_state_dict(saved)
        got.append(evaluation(net, epoch))

    rankings, head, x, queries = plain_evaluation(train, test, net, seed=5)
    for measured, ranked in zip(got, rankings, strict=True):
        for k in (1, 5):
            hits = (ranked[:, :k] == test.labels[:, None]).any(1)
            right = hits.float().mean().item()
            assert measured[f"linear_top{k}"] == pytest.approx(100 * right, abs=1e-4)
    torch.testing.assert_close(evaluation.head.weight, head.weight, rtol=0, atol=1e-5)
    votes = knn(x, train.labels, queries, 6)
    right = (votes[:, 0] == test.labels).float().mean().item()
    assert got[2]["knn_top1"] == pytest.approx(100 * right, abs=1e-4)
    assert got[2]["knn_top5"] >= got[2]["knn_top1"] > 30
    assert got[2]["effective_rank"] == pytest.approx(effective_rank(queries), rel=1e-4)
    measures = {"linear_top1", "linear_top5", "knn_top1", "knn_top5"}
    assert set(got[2]) == measures | {"knn_few_top1", "effective_rank"}
    fewest = min(np.bincount(train.labels))
    votes = votes_by_sklearn(x.double(), train.labels, queries.double(), 6, fewest)
    right = (votes.argmax(1) == test.labels.numpy()).mean()
    assert got[2]["knn_few_top1"] == pytest.approx(100 * right, abs=1e-4)


def test_an_evaluation_leaves_trainings_random_numbers_as_they_are():
    state = torch.get_rng_state()
    OnlineEvaluation(image_set(20, 1), image_set(20, 2), 12, 5, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)


def test_knn_equals_scikit_learns_neighbours():
    draw = generator(3)
    bank = torch.randn(2000, 32, generator=draw)
    queries = torch.randn(500, 32, generator=draw)
    labels = torch.randint(0, 7, (2000,), generator=draw)
    votes = votes_by_sklearn(bank.double(), labels, queries.double(), 7, 200)
    ranked = knn(bank, labels, queries, 7)
    assert np.array_equal(ranked[:, 0].numpy(), votes.argmax(1))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' peak memory")
def test_knn_of_60000_by_10000_takes_less_than_a_gigabyte():
    code = """if True:
        import re, torch
        from lightly.utils.benchmarking.knn import knn_predict
        from infomax_nb.evaluation.neighbours import knn
        def peak():
            status = open("/proc/self/status").read()
            return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1e6
        bank = torch.randn(60_000, 128)
        queries = torch.randn(10_000, 128)
        labels = torch.arange(60_000) % 100
        knn(bank[:500], labels[:500], queries[:10], 100)
        before = peak()
        knn(bank, labels, queries, 100)
        print(peak() - before)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 1.0  # GB


def test_fewer_than_five_classes_have_no_top5():
    few = [image_set(40, seed, classes=3) for seed in (1, 2)]
    got = OnlineEvaluation(*few, 12, 0, torch.device("cpu"))(network(), 0)
    assert set(got) == {"linear_top1", "knn_top1", "knn_few_top1", "effective_rank"}


@pytest.mark.parametrize("classes", [2, 5])
def test_the_converged_probe_is_scikit_learns_logistic_regression(classes):
    """Standardised, C = 1; with all classes in the order of their probabilities."""
    rng = np.random.default_rng(0)
    labels, asked = (rng.integers(0, classes, n) for n in (300, 200))
    scales = np.array([1, 1, 1, 100, 0.01, 1])
    centres = rng.normal(size=(classes, 6))
    x, queries = (
        scales * (centres[y] + 1.5 * rng.normal(size=(len(y), 6))) for y in (labels, asked)
    )
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
    expected = np.argsort(-peer.fit(x, labels).predict_proba(queries), axis=1)
    found = converged_probe(*map(torch.from_numpy, (x, labels, queries)))
    np.testing.assert_array_equal(found, expected)


def test_colour_statistics_are_those_of_each_channels_pixels():
    """Mean, standard deviation, first and last decile; 300 images are more than one portion."""
    images = torch.randint(0, 256, (300, 3, 5, 7), dtype=torch.uint8)
    pixels = images.flatten(2).numpy().astype(float)
    deciles = np.quantile(pixels, [0.1, 0.9], axis=2)
    expected = np.concatenate([pixels.mean(2), pixels.std(2, ddof=1), *deciles], axis=1)
    np.testing.assert_allclose(colour_statistics(images), expected, rtol=1e-4)


@pytest.mark.parametrize("images", [1, 2, 5, 7, 8])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_out_all_images_in_parts_of_one_size(images, world, monkeypatch):
    """What is left over to make parts equal is images that others have, too."""
    monkeypatch.setattr(representation, "world_size", lambda: world)
    shares = []
    for rank in range(world):
        monkeypatch.setattr(representation, "rank", lambda rank=rank: rank)
        shares.append(representation._own_rows(images))
    assert len({len(share) for share in shares}) == 1
    together = torch.cat(shares)
    assert together[:images].tolist() == list(range(images))
    assert together.max() < images
