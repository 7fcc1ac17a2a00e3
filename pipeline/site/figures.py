"""The paper's figures, what they show there, and which results of ours stand beside them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperFigure:
    """A figure of the paper.

    Args:
        number: as in the paper.
        title: what it is about.
        setting: what the paper trained for it.
        says: what the paper reads from it, quoted where that is short.
        result: the folder in `reports/` whose figure stands beside it.
        ours: what that figure shows.
        drawn: a network whose maps are drawn on photographs above that figure.
        more: further results on the same question.
    """

    number: int
    title: str
    setting: str
    says: str
    result: str
    ours: str = ""
    more: tuple[str, ...] = ()
    drawn: str = ""


FIGURES = [
    PaperFigure(
        1,
        "Where a convolutional network looks",
        "ResNet-50, ImageNet-1000; Smooth Grad-CAM on photographs from elsewhere",
        "“the network learned with some success to focus on the main objects in each image”",
        "saliency_tiny_imagenet",
        "The share of Smooth Grad-CAM that lies on the object, in test images with boxes: as much "
        "as an untrained network's.",
        ("objects_voc", "saliency_glyphs"),
        "resnet_small",
    ),
    PaperFigure(
        2,
        "Where a transformer looks",
        "ViT-Tiny, STL-10; attention from CLS to patches, mean over all blocks",
        "“the networks learned to focus on the main objects in the image”",
        "saliency_tiny_imagenet_vit",
        "The share of the same attention that lies on the object: a little above chance, far "
        "below a blob in the centre.",
        more=("objects_voc",),
        drawn="vit_mini",
    ),
    PaperFigure(
        3,
        "The projector's width",
        "ResNet-18, STL-10, 200 epochs; 128 to 4,096 dimensions",
        "“There is no clear advantage of increasing the size of the final projector”",
        "projector_cifar10",
        "The widths run together; three seeds decide nothing.",
        more=("projector_glyphs",),
    ),
    PaperFigure(
        4,
        "The bandwidth κ",
        "ResNet-18, STL-10, 200 epochs; κ = 0.1, ln 2, 1, 10, 20",
        "Higher κ “accelerate early accuracy”; too high a κ “hinders the learning process after "
        "the initial epochs”; smaller ones seem “to eventually catch up”.",
        "kappa_cifar10",
        "κ = 10 and 20 lead from the first epochs on, and κ = 0.1 is the lowest.",
        more=("kappa_fashion_mnist", "kappa_glyphs", "kappa_glyphs_long"),
    ),
    PaperFigure(
        5,
        "The weight β of the local entropy",
        "ResNet-18, STL-10, 200 epochs; β = 0.1 and 0.75 are named",
        "A smaller β has a “higher early accuracy” but “seems to get stuck”; a higher one ends "
        "higher.",
        "beta_cifar10",
        "β = 0.5, 0.75 and 1 end close together; 0.1, 2 and 4 end far below.",
        more=(
            "beta_glyphs",
            "beta_glyphs_long",
            "embedding_glyphs",
            "contraction_glyphs",
            "contraction_cifar10",
        ),
    ),
    PaperFigure(
        6,
        "Seven methods over epochs",
        "ResNet-18, CIFAR-10 and STL-10, 200 epochs",
        "No method surpasses supervised training on CIFAR-10; on STL-10 that “got stuck around "
        "70%”.",
        "methods_cifar10",
        "Supervised training leads, ours follows; Barlow Twins, BYOL and DINO are below the "
        "untrained network.",
        more=(
            "methods_glyphs",
            "methods_lc25000",
            "methods_lc25000_groups",
            "methods_lr",
            "family_glyphs",
        ),
    ),
    PaperFigure(
        7,
        "How alike classes are",
        "ResNet-50, ImageNet-1000; cosine similarity of ImageNet-100's class centroids",
        "“the big square in the middle corresponds to animals”, with dogs the most intense",
        "centroids_tiny_imagenet",
        more=("centroids_glyphs", "embedding_cifar10"),
    ),
]
CENTRAL = ("coarse_tiny_imagenet", "coarse_glyphs", "coarse_class_counts")  # no figure there
