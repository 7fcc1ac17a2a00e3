"""Say in words what files say in names: methods, data sets, networks, columns."""

from infomax_nb.names import in_words
from infomax_nb.plots import LABELS

COLUMNS = LABELS | {
    "adjusted Rand index": "clusters against groups, adjusted Rand index",
    "beta": "β",
    "dataset": "data set",
    "features": "features of",
    "height": "height of the wrong class",
    "height, shuffled": "height, labels shuffled",
    "kappa": "κ",
    "knn_top5": "k-NN, top-5 (%)",
    "linear_top5": "linear head, top-5 (%)",
    "lr": "learning rate",
    "method": "method",
    "mi_held_out": "mutual information, held-out images (nats)",
    "p": "p, by permutation of classes",
    "params": "parameter file",
    "proj_dim": "projector's width",
    "ratio": "saliency on objects, times chance",
    "seeds": "number of seeds",
}


def column_in_words(name: str) -> str:
    """A column's name as people say it; one that is in words already stays.

    >>> column_in_words("linear_top1"), column_in_words("ratio, infomax less it")
    ('linear head, top-1 (%)', 'ratio, ours less it')
    """
    return COLUMNS.get(name, in_words(name).replace("_", " "))


def listed(items: list[str]) -> str:
    """The items with commas, and `and` before the last.

    >>> listed(["0", "1", "2"])
    '0, 1 and 2'
    """
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


def setting(records: list[dict]) -> str:
    """What was trained, in words: data, images, epochs, network, seeds.

    Args:
        records: the runs' records, as in `records.json`; what they differ in is listed.
    """

    def values(field: str) -> list:
        occurring = [record["config"].get(field) for record in records if "config" in record]
        return sorted(set(occurring) - {None})

    if not values("dataset"):
        return ""
    images = sorted({record["images"] for record in records if "images" in record})
    parts = [listed([in_words(name) for name in values("dataset")])]
    if images:
        parts.append(listed([f"{number:,}" for number in images]) + " training images")
    parts.append(listed([str(number) for number in values("epochs")]) + " epochs")
    parts.append(listed([in_words(name) for name in values("backbone")]))
    seeds = values("seed")
    parts.append(f"seed{'s' if len(seeds) > 1 else ''} {listed(list(map(str, seeds)))}")
    return ", ".join(parts)
