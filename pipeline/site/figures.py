"""The paper's figures, what they show there, and which results of ours stand beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infomax_nb.figures.table1 import LATE
from infomax_nb.names import in_words


@dataclass(frozen=True)
class Late:
    """What late training shows on the question of a figure.

    Args:
        claims: those of the plan that are about it.
        shows: what the picture shows.
        conditions: the runs of a picture of accuracies over epochs, with their labels.
        windows: first and last epochs that the claims compare, which the picture marks.
        result: the folder in `reports/` that has the picture, where none is drawn.
    """

    claims: tuple[str, ...]
    shows: str = ""
    conditions: Mapping[str, str] = field(default_factory=dict)
    windows: tuple[tuple[int, int], ...] = ()
    result: str = ""


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
        late: what late training shows on it.
    """

    number: int
    title: str
    setting: str
    says: str
    result: str
    ours: str = ""
    more: tuple[str, ...] = ()
    drawn: str = ""
    late: Late | None = None


CURVES = (
    "CIFAR-10, all 50,000 images, lossless, small ResNet, up to 60 epochs; a thin line a seed, a "
    "thick one their mean, grey the epochs that are compared at equal epochs"
)
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
        Late(
            ("8",),
            "304 photographs of animals with pixel masks; ours and SimCLR: CIFAR-10, all 50,000 "
            "images, 60 epochs, small ResNet, three networks; 20 classes: Imagenette and "
            "Imagewoof, 70 epochs; bars: 90% over networks; hollow: a single network or a prior, "
            "without one",
            result="objects_voc",
        ),
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
        late=Late(
            ("1", "1b", "2"),
            CURVES,
            {"kappa1": "κ = 1", "kappa10": "κ = 10", "kappa20": "κ = 20"},
            ((1, 5), (32, 40), (52, 60)),
        ),
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
        late=Late(
            ("3", "3b", "4", "4c"),
            CURVES,
            {
                "beta0.1": "β = 0.1",
                "beta0.75": "β = 0.75",
                "kappa10": "β = 1",
                "beta1.25_from20": "β = 1.25 from epoch 20",
                "beta1.5_from20": "β = 1.5 from epoch 20",
                "beta2_from20": "β = 2 from epoch 20",
            },
            ((1, 5), (32, 40), (52, 60)),
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
        late=Late(
            ("5", "5b", "5c"),
            CURVES,
            {"kappa10": "ours"} | {run: in_words(run) for run in LATE["CIFAR-10"][1:]},
            ((52, 60),),
        ),
    ),
    PaperFigure(
        7,
        "How alike classes are",
        "ResNet-50, ImageNet-1000; cosine similarity of ImageNet-100's class centroids",
        "“the big square in the middle corresponds to animals”, with dogs the most intense",
        "centroids_tiny_imagenet",
        more=("centroids_glyphs", "embedding_cifar10"),
        late=Late(("9",)),
    ),
]
CENTRAL = ("coarse_tiny_imagenet", "coarse_glyphs", "coarse_class_counts")  # no figure there
