"""Images with labels: data sets, their readers, and the order in which training sees them."""

import lazy_loader

_NAMES = {"fingerprints": ["fingerprint"], "image_set": ["ImageSet"], "loading": ["load"]}
_NAMES["sampling"] = ["batches", "stratified"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)
