"""Views of images: which there are, what is random about them, and their pixels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"batch": ["MultiView"], "recipes": ["dino_views"], "specification": ["ViewSpec"]},
)
