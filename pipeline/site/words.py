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
