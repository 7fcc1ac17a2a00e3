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
