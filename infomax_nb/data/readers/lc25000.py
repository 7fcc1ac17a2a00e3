"""data.readers.lc25000."""

from pathlib import Path

from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers.class_folders import _divided, _listing
from infomax_nb.data.readers.common import _first, _lines


def _lc25000(root: Path, split: str, grouped: bool = False) -> ImageSet:
    """The publisher's `<root>/lung_colon_image_set/{lung,colon}_image_sets/<class>`, or
    `<root>[/lc25000]/<class>`.

    80/20 at random, or with whole groups of images held out: `groups.csv` (image =
    `<class>/<file>`, group).
    """
    get = "Borkowski et al. (2019) publish it as lung_colon_image_set."
    names = ["colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc"]
    nested = [f"lung_colon_image_set/{name.split('_')[0]}_image_sets/{name}" for name in names]
    layouts = {
        root / layout[3]: layout
        for layout in (nested, [f"lc25000/{name}" for name in names], names)
    }
    names = layouts[_first("LC25000", list(layouts), get)]
    # Without the colon half it is a data set of three classes.
    data = _listing(
        root, names=names if any((root / name).is_dir() for name in names[:2]) else names[2:]
    )
    if not grouped:
        return _divided(data, split)
    get = "It is a table with columns image (<class>/<file>) and group (the tile that the image is a copy of)."
    places = (
        "lc25000/groups.csv",
        "groups.csv",
        "lc25000_groups.csv",
        "lung_colon_image_set/groups.csv",
    )
    table = _first("LC25000's table of groups", [root / place for place in places], get)
    keys = ["/".join(Path(path).parts[-2:]) for path in data.images]  # type: ignore[union-attr]
    lines = _lines(
        keys, [table], others=True, index_col="image", usecols=["image", "group"], dtype=str
    )
    return _divided(data, split, lines["group"])
