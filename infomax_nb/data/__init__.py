"""Images with labels: data sets, their readers, and the order in which a training sees them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fingerprints": ["fingerprint"],
        "image_set": ["ImageSet"],
        "loading": ["load"],
        "sampling": ["batches", "stratified"],
    },
)
