"""Training a run: a directory that `fit` fills, resumes or returns."""

import lazy_loader

_NAMES = {"__main__": ["main"], "record": ["environment"]}
_NAMES["fitting"] = ["datasets", "fit", "fit_all"]
_NAMES["run"] = ["Run", "collect", "siblings"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)
