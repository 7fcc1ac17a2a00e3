"""Eight DINO views of an image: ours and kornia's on batches, lightly's and torchvision's singly.

lightly's `DINOTransform` works on Pillow images, torchvision's v2 on tensors: image by image, since
a batch would get the same random numbers for all. What the recipes differ in is in the table.
"""

import importlib.util
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from common import BENCHMARKS, TRIAL, device, publish, timed
from lightly.transforms import DINOTransform
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, Dataset
from view_peers import DIFFERENCES, KorniaViews, TorchvisionViews

from infomax_nb.device import keep_memory
from infomax_nb.plots import label
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views, local_size

IMAGES = 128
SIDE = 300  # pixels of the crops of photographs
WORKERS = 2


def photographs(size: int) -> list[Image.Image]:
    """Crops of the photographs that scikit-learn ships, scaled to `size` pixels."""
    rng = np.random.default_rng(0)
    crops = []
    for k in range(IMAGES):
        photo = Image.fromarray(load_sample_images().images[k % 2])
        x = rng.integers(0, photo.width - SIDE)
        y = rng.integers(0, photo.height - SIDE)
        crop = photo.crop((x, y, x + SIDE, y + SIDE))
        crops.append(crop.resize((size, size), Image.Resampling.BICUBIC))
    return crops


class Views(Dataset):
    """Views by a peer that takes an image at a time, of each image `repeat` times."""

    def __init__(self, images: Sequence, transform: Callable, repeat: int):
        self.images = images
        self.transform = transform
        self.repeat = repeat

    def __len__(self):
        return len(self.images) * self.repeat

    def __getitem__(self, k):
        return self.transform(self.images[k % len(self.images)])


def one_by_one(name: str, images: Sequence, transform: Callable, batches: int) -> dict:
    """Two ways to draw the views of so many batches by a peer that takes an image at a time."""
    views = Views(images, transform, batches)
    loader = DataLoader(views, IMAGES, num_workers=WORKERS, persistent_workers=True)
    return {
        f"{name}, one process": lambda: [views[k] for k in range(len(views))],
        f"{name}, DataLoader with {WORKERS} workers": lambda: list(loader),
    }


def candidates(size: int, batches: int) -> dict[str, Callable[[], object]]:
    """All ways to draw the views of so many batches; kornia's if it is installed."""
    images = photographs(size)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    stack = pixels.to(device())
    specs = dino_views(size)
    ours = MultiView(specs)
    generator = torch.Generator().manual_seed(0)
    blur = tuple(specs[k].blur_p for k in (0, 1, 2))
    sizes = {"global_crop_size": size, "local_crop_size": local_size(size)}
    lightly = DINOTransform(**sizes, gaussian_blur=blur)
    ways = {"ours": lambda: [ours(stack, generator) for _ in range(batches)]}
    ways |= one_by_one("lightly", images, lightly, batches)
    ways |= one_by_one("torchvision v2", pixels, TorchvisionViews(specs), batches)
    if importlib.util.find_spec("kornia"):
        kornia = KorniaViews(specs)
        ways["kornia"] = lambda: [kornia(stack) for _ in range(batches)]
    return ways


def compared(size: int, batches: int, rounds: int) -> list[dict]:
    """A row for each way to draw the views of so many batches."""
    scale = 1e3 / (IMAGES * batches)
    blurs = dino_views(size)[0].blur_p > 0
    rows = []
    for row in timed(candidates(size, batches), rounds):
        milliseconds = row.pop("seconds") * scale
        spread = row.pop("spread") * scale
        differs = DIFFERENCES.get(row["candidate"].partition(",")[0], "")
        if differs and blurs:
            differs += "; a Gaussian instead of Pillow's three boxes"
        row |= {"ms_per_image": milliseconds, "spread": spread, "differs_in": differs}
        rows.append({"pixels": size, **row})
    return rows


def draw(table: pd.DataFrame) -> None:
    """Milliseconds of each candidate, a panel for each size."""
    sizes = table["pixels"].unique()
    inches = (5.2 * len(sizes) + 1.5, 3.2)
    options = {"figsize": inches, "squeeze": False, "sharey": True, "layout": "tight"}
    figure, axes = plt.subplots(1, len(sizes), **options)
    for axis, size in zip(axes[0], sizes, strict=True):
        rows = table[table["pixels"] == size]
        colours = ["C0" if name == "ours" else "C7" for name in rows["candidate"]]
        names = [label(name, most=50) for name in rows["candidate"]]
        bars = axis.barh(names, rows["ms_per_image"], color=colours)
        axis.bar_label(bars, fmt="%.2g", padding=3)
        axis.margins(x=0.15)
        axis.grid(axis="y", visible=False)
        title = f"eight views of an image of {size} pixels"
        axis.set(title=title, xlabel="milliseconds an image")
    axes[0, 0].invert_yaxis()
    figure.savefig(BENCHMARKS / f"{device()}_views.png", dpi=110)


def main() -> None:
    """Milliseconds for an image at 32 pixels, without blur as in training, and at 96, with it."""
    keep_memory()  # as training does
    if TRIAL:
        draw(publish("views", compared(size=32, batches=1, rounds=1)))
        return
    small = compared(size=32, batches=8, rounds=5)
    draw(publish("views", small + compared(size=96, batches=2, rounds=7)))


if __name__ == "__main__":
    main()
