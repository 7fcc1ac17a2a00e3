"""Hierarchies and their distances by hand, rank correlations against SciPy, exact permutation
p-values."""

from itertools import permutations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics.pairwise import cosine_similarity

from infomax_nb.analysis.centroids import (
    above,
    agreement,
    ceiling,
    centroids,
    cluster_tree,
    hierarchy,
    interval_texts,
    lca_height,
    members,
    nearest_in_group,
    over_classes,
    rank_correlation,
    ranked,
    read_intervals,
    relative_distance,
    tree_distance,
    within_groups,
)
from infomax_nb.data import loading as data
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.representation import features

# Six classes:      root
#              ┌─────┴─────┐
#            life        thing
#         ┌────┴───┐     ┌─┴──┐
#        fish    frog  desk   tool
#        / \      / \           \
#     gold  eel bull tree      hammer
SIX = [
    ("root", "life", "fish", "gold"),
    ("root", "life", "fish", "eel"),
    ("root", "life", "frog", "bull"),
    ("root", "life", "frog", "tree"),
    ("root", "thing", "desk"),
    ("root", "thing", "tool", "hammer"),
]
SIX_DISTANCE = [
    [0, 2, 4, 4, 5, 6],
    [2, 0, 4, 4, 5, 6],
    [4, 4, 0, 2, 5, 6],
    [4, 4, 2, 0, 5, 6],
    [5, 5, 5, 5, 0, 3],
    [6, 6, 6, 6, 3, 0],
]
# Lines of the WordNet table. The two nodes called table are different ones, both kinds of
# furniture.
FROG = "n00001740/n00015388/n01471682/n01627424/n01639765"
FROG_NAMES = "entity/animal/vertebrate/amphibian/frog"
WORDNET = f"""wnid,name,in_tiny_imagenet,hypernym_wnids,hypernym_names
n01443537,goldfish,1,n00001740/n00015388/n01471682/n02512053,entity/animal/vertebrate/fish
n01641577,bullfrog,1,{FROG}/n01640846,{FROG_NAMES}/true_frog
n01644900,tailed_frog,1,{FROG},{FROG_NAMES}
n03179701,desk,1,n00001740/n00021939/n03405725/n04379243,entity/artifact/furniture/table
n03201208,dining_table,1,n00001740/n00021939/n03405725/n04379964,entity/artifact/furniture/table
n03982430,pool_table,0,n00001740/n00021939/n03405725/n04379243,entity/artifact/furniture/table
"""


@pytest.fixture
def wordnet(tmp_path):
    path = tmp_path / "wordnet.csv"
    path.write_text(WORDNET)
    return path


def pairs(matrix: np.ndarray) -> list[float]:
    return [matrix[i][j] for i in range(len(matrix)) for j in range(i + 1, len(matrix))]


def test_distances_of_a_small_tree_by_hand():
    assert tree_distance(SIX).tolist() == SIX_DISTANCE
    graph = nx.Graph(edge for path in SIX for edge in zip(path, path[1:], strict=False))
    walked = dict(nx.all_pairs_shortest_path_length(graph))
    assert tree_distance(SIX).tolist() == [[walked[p[-1]][q[-1]] for q in SIX] for p in SIX]
    assert lca_height(SIX)[0].tolist() == [0, 1, 2, 2, 3, 3]
    assert lca_height(SIX)[4].tolist() == [3, 3, 3, 3, 0, 2]


def test_height_is_the_cophenetic_distance_where_all_leaves_are_equally_deep():
    # A binary tree whose root has no name
    paths = [(f"{k // 4}", f"{k // 2}", f"{k}") for k in range(8)]
    height = lca_height(paths)
    assert height[0].tolist() == [0, 1, 2, 2, 3, 3, 3, 3]
    cophenetic = cophenet(linkage(squareform(height), "average"))
    np.testing.assert_array_equal(squareform(cophenetic), height)
    np.testing.assert_array_equal(tree_distance(paths), 2 * height)


def test_wordnet_paths_keep_apart_what_shares_a_name(wordnet):
    wnids = ["n03179701", "n01641577", "n03201208", "n03982430", "n01443537", "n01644900"]
    paths = hierarchy(wnids, wordnet)
    assert paths[4] == (
        "entity (n00001740)",
        "animal (n00015388)",
        "vertebrate (n01471682)",
        "fish (n02512053)",
        "goldfish (n01443537)",
    )
    desk = tree_distance(paths)[0].tolist()
    assert desk == [0, 4 + 6, 4, 2, 4 + 4, 4 + 5]
    assert tree_distance(paths)[1, 5] == 3  # bullfrog and tailed frog
    assert lca_height(paths)[1, 5] == 2
    assert lca_height(paths)[1, 4] == 4  # bullfrog and goldfish


def test_superclasses_are_a_hierarchy_of_two_levels():
    """As CIFAR-100 and glyphs have them."""
    paths = hierarchy(
        ["apple", "trout", "pear"], coarse=torch.tensor([1, 0, 1]), coarse_names=["fish", "fruit"]
    )
    assert paths == [("fruit", "apple"), ("fish", "trout"), ("fruit", "pear")]
    assert tree_distance(paths).tolist() == [[0, 4, 2], [4, 0, 4], [2, 4, 0]]
    assert lca_height(paths).tolist() == [[0, 2, 1], [2, 0, 2], [1, 2, 0]]


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda text: text.replace("n01641577", "n01641578"), "n01641577"),
        (lambda text: text.replace("hypernym_names", "names"), "hypernym_names"),
        (
            lambda text: text.replace("entity/animal/vertebrate/fish", "animal/vertebrate/fish"),
            "longer",
        ),
        (lambda text: text + "a,b,c\n" + "a," * 9, "Expected 5 fields"),
        (lambda text: "", "No columns"),
    ],
    ids=["class", "column", "lengths", "ragged", "empty"],
)
def test_a_table_that_is_not_one_is_named(wordnet, change, word):
    wordnet.write_text(change(WORDNET))
    with pytest.raises(ParameterError) as refused:
        hierarchy(["n01443537", "n01641577"], str(wordnet))
    said = str(refused.value)
    assert said.startswith(
        f"hierarchy_csv = {str(wordnet)!r} is not allowed: it must be a table with columns wnid"
    )
    assert word in said.split(";")[1]
    assert len(said.splitlines()) == 1


def test_no_table_at_all_is_named():
    for csv in (None, "nowhere.csv"):
        sentence = f"hierarchy_csv = {csv!r} is not allowed"
        with pytest.raises(ParameterError, match=sentence) as refused:
            hierarchy(["airplane", "bird"], csv)
        assert "NoneType" not in str(refused.value)


def test_a_table_of_ones_own_whose_ids_are_the_names(tmp_path):
    (tmp_path / "own.csv").write_text(
        "wnid,name,hypernym_wnids,hypernym_names\ncat,cat,all/g1,all/pets\n"
    )
    assert hierarchy(["cat"], str(tmp_path / "own.csv")) == [("all", "pets (g1)", "cat")]


def test_centroids_by_hand():
    x = torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0], [0.0, -1.0]])
    expected = [[0.6 / 2, (0.8 - 1) / 2], [0, 1], [1, 0]]
    np.testing.assert_allclose(centroids(x, torch.tensor([0, 1, 2, 0])), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("labels", "classes", "missing"), [([0, 2, 2], None, "1"), ([1, 1, 2], 5, "0, 3, 4")]
)
def test_a_class_without_an_image_has_no_centroid(labels, classes, missing):
    """Else its neighbours' centroids would take its place, and its name."""
    count = classes or 3
    said = rf"^labels: of {count} classes these have no image: {missing}\. "
    with pytest.raises(ParameterError, match=said):
        centroids(torch.eye(3), torch.tensor(labels), classes)


def six_similarities(seed: int = 0) -> np.ndarray:
    """Cosines of six random vectors that lie roughly as the tree has them."""
    rng = np.random.default_rng(seed)
    nodes = {node: rng.normal(size=8) for path in SIX for node in path}
    return cosine_similarity([sum(nodes[node] for node in path[1:]) for path in SIX])


def test_rank_correlation_is_spearmans_and_its_p_value_counts_all_relabellings():
    similarity = six_similarities()
    tree = np.array(SIX_DISTANCE)
    found = rank_correlation(similarity, tree)
    rho = stats.spearmanr(pairs(1 - similarity), pairs(tree)).statistic
    assert found["rho"] == pytest.approx(rho, abs=1e-12)
    relabelled = [
        stats.spearmanr(pairs(1 - similarity[np.ix_(order, order)]), pairs(tree)).statistic
        for order in map(list, permutations(range(6)))
    ]
    reached = sum(other >= rho - 1e-12 for other in relabelled)
    assert len(relabelled) == 720
    assert 0 < reached < 720
    assert found["p"] == pytest.approx(reached / 720, abs=1e-12)


def test_p_value_of_random_relabellings_counts_the_true_one():
    groups = np.repeat(np.arange(8), 6)
    tree = np.where(groups[:, None] == groups, 2, 4) - 2 * np.eye(48)
    noise = np.random.default_rng(0).normal(size=(48, 48))
    perfect = rank_correlation(-tree + 1e-3 * (noise + noise.T), tree, permutations=99)
    assert perfect["p"] == pytest.approx(1 / 100)  # none of the 99 reaches it
    # Untied against tied ranks: 120 of 1,128 pairs are close, and ρ can be no more than
    # sqrt(3 q (1 - q)).
    q = 120 / 1128
    assert perfect["rho"] == pytest.approx(np.sqrt(3 * q * (1 - q)), abs=1e-3)
    # One-sided: here the closest pairs are the least alike.
    assert rank_correlation(tree, tree, 99)["p"] == 1


def test_pseudo_values_leave_one_class_out():
    similarity = six_similarities(3)
    tree = np.array(SIX_DISTANCE)
    found = rank_correlation(similarity, tree, 9)
    rest = [0, 1, 3, 4, 5]
    smaller = [matrix[np.ix_(rest, rest)] for matrix in (1 - similarity, tree)]
    without = stats.spearmanr(*map(pairs, smaller)).statistic
    assert found["by_class"][2] == pytest.approx(6 * found["rho"] - 5 * without, abs=1e-12)


def test_standard_error_is_the_spread_over_draws_of_classes():
    """Classes drawn anew from one fixed hierarchy: ρ varies as much as the error of each draw
    says."""
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(4, 1, 20)) + 0.8 * rng.normal(size=(4, 4, 20))
    found = []
    errors = []
    for _ in range(80):
        i, j = rng.integers(4, size=(2, 40))
        paths = [(f"{a}", f"{a}{b}", f"{k}") for k, (a, b) in enumerate(zip(i, j, strict=True))]
        similarity = cosine_similarity(groups[i, j] + 2 * rng.normal(size=(40, 20)))
        result = rank_correlation(similarity, tree_distance(paths), permutations=1)
        found.append(result["rho"])
        errors.append(stats.sem(result["by_class"]))
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.25)


# --- The ceiling, groups and trees ---------------------------------------------------------------


def test_the_ceiling_is_the_rho_of_a_perfect_order_without_ties():
    """All numbers of pairs, in the order of the distance; ties are broken in any way."""
    distance = pairs(np.array(SIX_DISTANCE))
    best = np.empty(len(distance))
    best[np.argsort(distance, kind="stable")] = np.arange(len(distance))
    expected = stats.spearmanr(best, distance).statistic
    assert ceiling(np.array(SIX_DISTANCE)) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    shuffled = [stats.spearmanr(rng.permutation(best), distance).statistic for _ in range(100)]
    assert max(shuffled) < expected < 1


def test_the_ceiling_of_two_levels_is_a_formula():
    """8 groups of 6: 120 of 1,128 pairs lie within a group."""
    paths = [(str(k // 6), str(k)) for k in range(48)]
    share = 120 / 1128
    expected = (3 * share * (1 - share)) ** 0.5
    assert ceiling(tree_distance(paths)) == pytest.approx(expected, abs=1e-5)


def test_ranks_and_squares_by_hand():
    similarity = np.array([[1, 0.9, 0.1], [0.9, 1, 0.5], [0.1, 0.5, 1]])
    ranks = np.array([[0, 300, 100], [300, 0, 200], [100, 200, 0]]) / 3
    assert ranked(similarity) == pytest.approx(ranks)
    assert within_groups(similarity, ["a", "b", "b"]) == {"b": pytest.approx(200 / 3)}
    # the first's nearest is the second, the second's the first, the third's the second
    assert nearest_in_group(similarity, ["a", "b", "b"]) == pytest.approx(100 / 3)


def two_blocks() -> np.ndarray:
    """Six classes, the even ones alike and the odd ones."""
    same = np.equal.outer(np.arange(6) % 2, np.arange(6) % 2)
    return np.where(np.eye(6), 1, np.where(same, 0.9, 0.2))


def test_a_tree_of_two_blocks_is_cut_into_them():
    tree = cluster_tree(two_blocks())
    groups = list("ababab")
    assert agreement(tree, groups, 2) == 1
    assert agreement(tree, list("aaabbb"), 2) < 0.2
    assert tree[-1, 2] == pytest.approx(0.8)  # every pair of the two is 1 - 0.2 apart
    rows = members(tree, list("uvwxyz"), groups, 2)
    assert sorted(rows["members"]) == ["u, w, y", "v, x, z"]
    assert rows["classes"].tolist() == rows["of it"].tolist() == [3, 3]
    assert set(rows["largest group"]) == {"a", "b"}


def test_relative_distances_by_hand():
    """gold and eel: 2 steps, depths 4 and 4; gold and desk: 5 steps, depths 4 and 3."""
    relative = relative_distance(SIX)
    assert relative[0, 1] == pytest.approx(2 / 8)
    assert relative[0, 4] == pytest.approx(5 / 7)


def test_how_far_a_correlation_is_above_another():
    index = pd.MultiIndex.from_product([["ours", "untrained"], [0, 1]])
    rho = pd.Series([0.4, 0.6, 0.2, 0.3], index)
    by_class = pd.DataFrame({"ours": [0.4, 0.5, 0.6], "untrained": [0.2, 0.2, 0.35]})
    table = above(rho, by_class)
    assert table.index.tolist() == ["ours", "ours"]
    assert table.series.tolist() == ["over classes", "over networks"]
    assert table["mean"].tolist() == pytest.approx([0.25, 0.25])
    half = 1.96 * stats.sem([0.2, 0.3, 0.25])
    of_networks = stats.ttest_1samp([0.2, 0.3], 0).confidence_interval()
    assert table.low.tolist() == pytest.approx([0.25 - half, of_networks.low])
    assert table.high.tolist() == pytest.approx([0.25 + half, of_networks.high])
    one_seed = above(rho[rho.index.get_level_values(1) == 0], by_class)
    assert one_seed.series.tolist() == ["over classes"]


def test_where_no_correlation_exists_none_is_above_another():
    """A flat hierarchy, whose distances are all the same."""
    rho = pd.Series({("ours", 0): np.nan, ("untrained", 0): np.nan, ("raw pixels", 0): np.nan})
    by_class = pd.DataFrame(np.nan, range(3), ["ours", "untrained", "raw pixels"])
    table = above(rho, by_class)
    assert table.index.tolist() == ["ours", "raw pixels"]
    assert table["mean"].isna().all()


def test_intervals_are_read_as_they_are_written():
    rho = pd.Series({"ours": 0.5, "pixels": -0.1})
    pseudo = pd.DataFrame({"ours": [0.4, 0.6], "pixels": [-0.2, 0.1]})
    intervals = over_classes(rho, pseudo)
    again = read_intervals(interval_texts(intervals))
    np.testing.assert_allclose(again, intervals, atol=0.005)


def test_from_imagenet_folders_to_a_rank_correlation(tmp_path, wordnet):
    """ImageNet's layout, raw pixels: animals are reddish here and furniture is bluish, so ρ is what
    the tree says."""
    rng = np.random.default_rng(0)
    wnids = ["n01443537", "n01641577", "n01644900", "n03179701", "n03201208", "n03982430"]
    for k, wnid in enumerate(wnids):
        for part, n in {"train": 2, "val": 3}.items():
            for image in range(n):
                pixels = rng.integers(0, 40, (40, 40, 3)) + [[180, 0, 0], [0, 0, 180]][k // 3]
                path = tmp_path / "imagenet" / part / wnid / f"{image}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)
    test = data.load("imagenet", tmp_path, "test", image_size=32)
    means = centroids(features(torch.nn.Flatten(), test.images), test.labels)
    similarity = cosine_similarity(means)
    paths = hierarchy(test.classes, wordnet)
    same = np.arange(6) // 3 == np.arange(6)[:, None] // 3
    assert similarity[same].min() > similarity[~same].max() + 0.5
    found = rank_correlation(similarity, tree_distance(paths))
    assert found["rho"] > 0.6
    assert found["p"] <= 72 / 720  # of the 720 relabellings 72 keep animals and furniture apart
