"""Names of methods, data sets and networks as people say them."""

import re

NAMES = {
    "infomax": "ours",
    "simclr": "SimCLR",
    "vicreg": "VICReg",
    "barlow_twins": "Barlow Twins",
    "byol": "BYOL",
    "dino": "DINO",
    "supervised": "supervised",
    "l_out": "L_out",
    "dcl": "DCL",
    "pvc_geometric": "geometric PVC",
    "pvc_arithmetic": "arithmetic PVC",
    "glyphs": "glyphs",
    "glyphs_textured": "textured glyphs",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "stl10": "STL-10",
    "tiny_imagenet": "Tiny-ImageNet",
    "lc25000": "LC25000",
    "lc25000_groups": "LC25000 with groups held out",
    "resnet_small": "small ResNet",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "vit_tiny": "ViT-Tiny",
    "vit_mini": "small ViT",
}
NAME = re.compile(r"\b(" + "|".join(sorted(NAMES, key=len, reverse=True)) + r")\b")


def in_words(text: object) -> str:
    """The text with names of methods, data sets and networks as people say them.

    >>> in_words("cifar10, 10 epochs, resnet_small: infomax, simclr")
    'CIFAR-10, 10 epochs, small ResNet: ours, SimCLR'
    """
    return NAME.sub(lambda name: NAMES[name[1]], str(text))


def listed(items: list[str]) -> str:
    """The items with commas, and `and` before the last.

    >>> listed(["0", "1", "2"])
    '0, 1 and 2'
    """
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


def setting(records: list[dict]) -> str:
    """What was trained, in words: data, images, epochs, network, seeds.

    Args:
        records: the runs' records, as in `records.json`; what they differ in is listed.
    """

    def values(field: str) -> list:
        occurring = [record["config"].get(field) for record in records if "config" in record]
        return sorted(set(occurring) - {None})

    if not values("dataset"):
        return ""
    images = sorted({record["images"] for record in records if "images" in record})
    parts = [listed([in_words(name) for name in values("dataset")])]
    if images:
        parts.append(listed([f"{number:,}" for number in images]) + " training images")
    parts.append(listed([str(number) for number in values("epochs")]) + " epochs")
    parts.append(listed([in_words(name) for name in values("backbone")]))
    seeds = values("seed")
    parts.append(f"seed{'s' if len(seeds) > 1 else ''} {listed(list(map(str, seeds)))}")
    return ", ".join(parts)
