"""Read LC25000: 25,000 images of lung and colon tissue, made from 1,250 of them."""

from pathlib import Path

from infomax_nb.data.readers.listing import Listing, divided, first_of, list_classes, table_rows

CLASSES = ["colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc"]
LAYOUTS = ["lung_colon_image_set/{half}_image_sets/{name}", "lc25000/{name}", "{name}"]
TABLES = ["lc25000/groups.csv", "groups.csv", "lc25000_groups.csv"]
TABLES += ["lung_colon_image_set/groups.csv"]


def read_lc25000(root: Path, split: str) -> Listing:
    """The images in the publisher's layout or in class folders, divided 80/20 at random.

    The former is `<root>/lung_colon_image_set/{lung,colon}_image_sets/<class>`, the latter
    `<root>[/lc25000]/<class>`.
    """
    return divided(_all_images(root), split)


def read_lc25000_groups(root: Path, split: str) -> Listing:
    """The same images, divided by whole groups, as `groups.csv` assigns them.

    The table's columns are image (`<class>/<file>`) and group.
    """
    data = _all_images(root)
    form = "It is a table with columns image (<class>/<file>) and group"
    cure = f"{form} (the tile that the image is a copy of)."
    table = first_of("LC25000's table of groups", [root / name for name in TABLES], cure)
    images = ["/".join(Path(path).parts[-2:]) for path in data.paths]
    columns: dict = {"index_col": "image", "usecols": ["image", "group"], "dtype": str}
    columns |= {"keep_default_na": False, "na_values": [""]}  # a group may be called NA
    rows = table_rows(images, [table], may_hold_others=True, **columns)
    return divided(data, split, rows["group"])


def _all_images(root: Path) -> Listing:
    """All images, or only those of the lung half if the colon half is missing."""
    cure = "Borkowski et al. (2019) publish it as lung_colon_image_set."
    places = {root / layout.format(half="lung", name="lung_n"): layout for layout in LAYOUTS}
    layout = places[first_of("LC25000", list(places), cure)]
    names = [layout.format(half=name.split("_")[0], name=name) for name in CLASSES]
    has_colon = any((root / name).is_dir() for name in names[:2])
    return list_classes(root, names=names if has_colon else names[2:])
