"""Eight DINO views of an image: ours on batches, lightly's `DINOTransform` image by image."""

import numpy as np
import torch
from common import TRIAL, device, publish, timed
from lightly.transforms import DINOTransform
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, Dataset

from infomax_nb.device import keep_memory
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views, local_size

IMAGES = 128
SIDE = 300  # pixels of the crops of photographs


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
    """Views by lightly, an image at a time."""

    def __init__(self, images: list[Image.Image], transform: DINOTransform, repeat: int):
        self.images = images
        self.transform = transform
        self.repeat = repeat

    def __len__(self):
        return len(self.images) * self.repeat

    def __getitem__(self, k):
        return self.transform(self.images[k % len(self.images)])


def compared(size: int, batches: int, rounds: int) -> list[dict]:
    """A row for each way to draw the views of so many batches."""
    images = photographs(size)
    blur = (1.0, 0.1, 0.5) if size >= 96 else (0.0, 0.0, 0.0)
    sizes = {"global_crop_size": size, "local_crop_size": local_size(size)}
    peer = DINOTransform(**sizes, gaussian_blur=blur)
    workers = {"num_workers": 2, "persistent_workers": True}
    loader = DataLoader(Views(images, peer, batches), batch_size=IMAGES, **workers)
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(device())
    ours = MultiView(dino_views(size))
    generator = torch.Generator().manual_seed(0)
    candidates = {
        "ours": lambda: [ours(stack, generator) for _ in range(batches)],
        "lightly, one process": lambda: [peer(image) for image in images for _ in range(batches)],
        "lightly, DataLoader with 2 workers": lambda: list(loader),
    }
    scale = 1e3 / (IMAGES * batches)
    rows = []
    for row in timed(candidates, rounds):
        milliseconds = row.pop("seconds") * scale
        spread = row.pop("spread") * scale
        rows.append({"pixels": size, **row, "ms_per_image": milliseconds, "spread": spread})
    return rows


def main() -> None:
    """Milliseconds for an image at 32 pixels, without blur as in training, and at 96, with it."""
    keep_memory()  # as training does
    if TRIAL:
        publish("views", compared(size=32, batches=1, rounds=1))
        return
    small = compared(size=32, batches=8, rounds=5)
    publish("views", small + compared(size=96, batches=2, rounds=7))


if __name__ == "__main__":
    main()
