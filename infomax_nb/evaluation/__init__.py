"""Measurements on frozen features, and how far the results of a few runs can be trusted."""

import lazy_loader

_NAMES = {"neighbours": ["knn", "topk_accuracy"], "online": ["OnlineEvaluation"]}
_NAMES |= {"probe": ["converged_probe"], "representation": ["features"]}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)
