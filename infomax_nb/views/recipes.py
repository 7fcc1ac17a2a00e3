"""Which views a run draws: its method's own or another recipe's, and how many local ones."""

from dataclasses import replace
from typing import Any

from infomax_nb.errors import ParameterError, not_allowed
from infomax_nb.views.specification import ViewSpec, from_lightly

LOCAL_FROM = 64  # the smallest images, in pixels, of which DINO has local views
LOCAL_AREA = (0.05, 0.4)  # share of the image's area, as in DINO's local views
# Recipes of two views each. Nothing but the views' size depends on the images.
LIGHTLY = {"simclr": "SimCLRTransform", "vicreg": "VICRegTransform", "byol": "BYOLTransform"}
# Ours, and methods that differ from it in the loss alone: they have its views, projector and kappa.
LIKE_OURS = ("infomax", "l_out", "dcl", "pvc_geometric", "pvc_arithmetic")
# Methods whose own recipe has another name than the method.
OWN_RECIPES = {"barlow_twins": "byol"} | dict.fromkeys(LIKE_OURS, "dino")
# The exact number of views that a method takes.
NEEDED = {"supervised": 1, "simclr": 2, "vicreg": 2, "barlow_twins": 2, "byol": 2}


def local_size(size: int) -> int:
    """Pixels of the local views.

    >>> [local_size(size) for size in (32, 64, 96, 224)]
    [16, 32, 48, 96]
    """
    return 96 if size == 224 else size // 2


# --- Recipes ----------------------------------------------------------------------------------


def dino_views(size: int, **options: Any) -> list[ViewSpec]:
    """The paper's views, Section 3, of images of `size` pixels.

    Two are global (40 to 100% of the area), six local (5 to 40%). From 96 pixels on they are
    blurred. `options` are those of lightly's `DINOTransform`.
    """
    blur = (1.0, 0.1, 0.5) if size >= 96 else (0.0, 0.0, 0.0)
    usual = {"global_crop_size": size, "local_crop_size": local_size(size), "gaussian_blur": blur}
    return from_lightly("DINOTransform", **usual | options)


def supervised_views(size: int) -> list[ViewSpec]:
    """One view of `size` pixels: torchvision's RandomResizedCrop (8 to 100%) and a flip."""
    return [ViewSpec(size, (0.08, 1.0), jitter_p=0.0, gray_p=0.0, kernel="bilinear")]


def recipe_views(recipe: str, size: int) -> list[ViewSpec]:
    """The views of a recipe (`TrainConfig.augmentation`), of images of `size` pixels.

    Raises:
        ParameterError: there is no such recipe. A new method is asked for one by its own name if
            it does not say what its views are (`Method.own_view_specs`).
    """
    if recipe == "dino":
        return dino_views(size)
    if recipe == "supervised":
        return supervised_views(size)
    if recipe not in LIGHTLY:
        known = ", ".join(["dino", "supervised", *LIGHTLY])
        raise not_allowed("augmentation", recipe, f"one of {known}")
    return [replace(view, size=size) for view in from_lightly(LIGHTLY[recipe])]


def own_recipe(method: str) -> str:
    """The name of a method's own recipe.

    >>> own_recipe("infomax"), own_recipe("simclr")
    ('dino', 'simclr')
    """
    return OWN_RECIPES.get(method, method)


# --- Local views ------------------------------------------------------------------------------


def with_local(views: list[ViewSpec], size: int, local: int) -> list[ViewSpec]:
    """The views of `size` pixels, and `local` smaller ones.

    The local views in `views` are used in turn. If there are none, the global ones are used in
    turn, with 5 to 40% of the area: colours, blur and solarisation keep their strengths.
    """
    whole = [view for view in views if view.size == size]
    small = [view for view in views if view.size < size]
    small = small or [replace(view, size=local_size(size), area=LOCAL_AREA) for view in whole]
    return whole + [small[k % len(small)] for k in range(local)]


def number_of_local_views(method: str, local_views: int | None, size: int) -> int:
    """How many local views are drawn of images of `size` pixels; `local_views` as configured."""
    if local_views is not None:
        return local_views
    return 6 if method in LIKE_OURS or (method == "dino" and size >= LOCAL_FROM) else 0


# --- What a configuration may ask for ---------------------------------------------------------


def same_as_own(
    method: str, augmentation: str | None, local_views: int | None, size: int
) -> list[str]:
    """Which of the fields `augmentation` and `local_views` ask for the same as None.

    None of them does for DINO: its own crops are narrower than its recipe's, and their number
    depends on the images' size in pixels.
    """
    if method == "dino":
        return []
    same = []
    if augmentation == own_recipe(method):
        same.append("augmentation")
    if local_views == number_of_local_views(method, None, size):
        same.append("local_views")
    return same


def check_patches(backbone: str, patch: int, method: str, local_views: int | None, size: int):
    """Refuse images of `size` pixels with a view that a ViT cannot divide into patches.

    Raises:
        ParameterError: a side of a view is not a multiple of the patch.
    """
    local = number_of_local_views(method, local_views, size)
    sides = [size, local_size(size)] if local else [size]
    if all(side % patch == 0 for side in sides):
        return
    depends_on_size = method == "dino" and local_views is None
    allowed = f"a multiple of {2 * patch if local or depends_on_size else patch}"
    if depends_on_size:
        allowed += f" (or, below {LOCAL_FROM}, of {patch})"
    why = f"for {backbone} sees every view of {method} in patches of {patch} pixels"
    raise not_allowed("image_size", size, f"{allowed}, {why}")


def check_views(method: str, augmentation: str | None, local_views: int | None, size: int) -> None:
    """Refuse a number of views that the method does not take, of images of `size` pixels.

    Raises:
        ParameterError: they are too many or too few.
    """
    recipe = augmentation or own_recipe(method)
    whole = 1 if recipe == "supervised" else 2
    local = number_of_local_views(method, local_views, size)
    needed = NEEDED.get(method)
    if needed is not None:
        fits = whole == needed and not local
        takes = f"exactly {needed} view{'s' if needed > 1 else ''}, and no local ones"
    elif method == "dino":
        fits = whole == 2
        takes = "2 views that are not local"
    else:
        fits = whole + local >= 2
        takes = "2 views or more"
    if fits:
        return
    field = "local_views" if local_views else "augmentation"
    given = local_views if local_views else augmentation
    drawn = f"these are {whole} of the recipe {recipe} and {local} local"
    raise ParameterError(f"{field} = {given!r} is not allowed: {method} takes {takes}; {drawn}.")
