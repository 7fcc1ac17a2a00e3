"""Eight DINO views of an image: ours on batches, lightly's `DINOTransform` alone and in a
DataLoader."""

import numpy as np
import torch
from common import device, publish, timed
from lightly.transforms import DINOTransform
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, Dataset

from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views, local_size

IMAGES = 128


def photographs(size: int) -> list[Image.Image]:
    """Crops of the photographs that scikit-learn ships, scaled to `size`."""
    rng, made = np.random.default_rng(0), []
    for k in range(IMAGES):
        photo = Image.fromarray(load_sample_images().images[k % 2])
        x, y = rng.integers(0, photo.width - 300), rng.integers(0, photo.height - 300)
        made.append(
            photo.crop((x, y, x + 300, y + 300)).resize((size, size), Image.Resampling.BICUBIC)
        )
    return made


class Pictures(Dataset):
    """Views by lightly, an image at a time."""

    def __init__(self, images, transform, repeat):
        self.images, self.transform, self.repeat = images, transform, repeat

    def __len__(self):
        return len(self.images) * self.repeat

    def __getitem__(self, k):
        return self.transform(self.images[k % len(self.images)])


def main() -> None:
    """Milliseconds for eight views of one image, at 32 (no blur, as in training) and 96 pixels
    (with blur)."""
    rows = []
    for size, batches in ((32, 8), (96, 2)):
        images = photographs(size)
        blur = (1.0, 0.1, 0.5) if size >= 96 else (0.0, 0.0, 0.0)
        peer = DINOTransform(
            global_crop_size=size, local_crop_size=local_size(size), gaussian_blur=blur
        )
        stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(device())
        ours, generator = MultiView(dino_views(size)), torch.Generator().manual_seed(0)
        loader = DataLoader(
            Pictures(images, peer, batches),
            batch_size=IMAGES,
            num_workers=2,
            persistent_workers=True,
        )
        candidates = {
            "ours": lambda: [ours(stack, generator) for _ in range(batches)],
            "lightly, one process": lambda: [
                peer(image) for image in images for _ in range(batches)
            ],
            "lightly, DataLoader with 2 workers": lambda: list(loader),
        }
        for row in timed(candidates, rounds=3 if size == 32 else 2):
            scale = 1e3 / (IMAGES * batches)
            ms, spread = row.pop("seconds") * scale, row.pop("spread") * scale
            rows.append({"pixels": size, **row, "ms_per_image": ms, "spread": spread})
    publish("views", rows)


if __name__ == "__main__":
    main()
