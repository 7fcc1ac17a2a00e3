"""Training a run: a directory that `fit` fills, resumes or returns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "__main__": ["main"],
        "fitting": ["datasets", "fit"],
        "record": ["environment"],
        "run": ["Run", "collect", "siblings"],
    },
)
