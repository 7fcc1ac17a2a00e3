"""What is measured on frozen features."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "neighbours": ["knn", "topk_accuracy"],
        "online": ["OnlineEvaluation"],
        "probe": ["converged_probe"],
        "representation": ["features"],
    },
)
