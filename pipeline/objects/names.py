"""How networks, references and counts are called in the result's tables."""

# Kinds of networks
OURS = "infomax"
OTHERS = f"{OURS}, 20 classes"  # ours of Imagenette's and Imagewoof's
UNTRAINED = "untrained"
SEEDS = (0, 1, 2)  # the plan's
EARLY = {
    "infomax early, 3×3 stem": "cifar10-infomax-resnet_small",
    "simclr early, 3×3 stem": "cifar10-simclr-resnet_small",
    "infomax early, vit_mini": "cifar10-infomax-vit_mini",
}
BEGINNINGS = {
    "untrained, 3×3 stem": "infomax early, 3×3 stem",
    "untrained, vit_mini": "infomax early, vit_mini",
}
ORDER = (OURS, "simclr", OTHERS, UNTRAINED, *EARLY, *BEGINNINGS)  # in tables

# References that look at no image: a Gaussian in the middle, so many images wide, and a constant
WIDTHS = {"centre prior": 1 / 4, "centre prior, narrow": 1 / 8, "centre prior, wide": 1 / 2}
UNIFORM = "uniform"

# A photograph's counts of sure pixels
PIXELS = ("tp", "fp", "fn", "tn")  # animal found, wrongly found, missed; background found
