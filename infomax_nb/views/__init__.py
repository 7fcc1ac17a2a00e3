"""Views of images: their recipes, their random numbers and their pixels."""

import lazy_loader

_NAMES = {"batch": ["MultiView"], "recipes": ["dino_views"], "specification": ["ViewSpec"]}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)
