"""Read ImageNet (ILSVRC 2012), and ImageNet-100, a hundred of its classes."""

from pathlib import Path

from infomax_nb.data.readers.listing import Listing, first_of, list_part
from infomax_nb.errors import file_errors


def read_imagenet(root: Path, split: str, names: list[str] | None = None) -> Listing:
    """The images of `<root>[/imagenet]/{train,val}/<WordNet id>/*.JPEG`, or of classes `names`."""
    source = "ImageNet (ILSVRC 2012) comes from its publishers"
    cure = f"{source}; val, too, must be sorted into class folders."
    part, other = ("train", "val") if split == "train" else ("val", "train")
    folder = first_of("ImageNet", [root / "imagenet" / part, root / part], cure)
    return list_part(folder, other, names)


def read_imagenet100(root: Path, split: str) -> Listing:
    """The classes of ImageNet that `<root>[/imagenet]/imagenet100.txt` names."""
    cure = "It is a text file with the WordNet ids of a hundred classes of ImageNet, one a line."
    places = [root / "imagenet100.txt", root / "imagenet" / "imagenet100.txt"]
    path = first_of("ImageNet-100's list", places, cure)
    with file_errors(path):
        names = sorted(set(path.read_text(errors="replace").split()))
        if len(names) < 2:
            raise ValueError(f"it names {len(names)} classes, and at least two are needed")
    return read_imagenet(root, split, names)
