"""One epoch of CIFAR-10's shape, ours against lightly's stock loop.

5,000 images, 8 views, batches of 128, ResNet-18. Stock is the Lightning example of lightly's
documentation with its multi-crop transform: `DINOTransform` in a DataLoader with two workers, the
backbone called view by view, its `NTXentLoss` on pairs of views, AdamW. Its DINO example does more
per step (a second network); this is the least that its parts can be asked for. Evaluation is off
on both sides.

`--data-root DIR` takes real CIFAR-10; without it the images are random numbers, which cost the
same.
"""

import argparse
import logging
import time
import warnings

import pytorch_lightning as pl
import torch
from common import device, publish
from lightly.loss import NTXentLoss
from lightly.transforms import DINOTransform
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_pil_image

from infomax_nb import models
from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.loading import load
from infomax_nb.methods import build
from infomax_nb.train.module import PretrainModule


class Images(Dataset):
    """Images as Pillow's, views by lightly."""

    def __init__(self, images: torch.Tensor):
        no_blur = (0.0, 0.0, 0.0)
        sizes = {"global_crop_size": 32, "local_crop_size": 16}
        self.images = [to_pil_image(image) for image in images]
        self.transform = DINOTransform(**sizes, gaussian_blur=no_blur)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        return self.transform(self.images[k]), 0


class Stock(pl.LightningModule):
    """As a user of lightly would write it."""

    def __init__(self):
        super().__init__()
        self.backbone = models.backbone("resnet18").to(memory_format=torch.contiguous_format)
        self.projector = models.mlp(512, 128)
        self.criterion = NTXentLoss(temperature=0.1)

    def training_step(self, batch, _):
        z = [self.projector(self.backbone(view)) for view in batch[0]]
        return sum(self.criterion(a, b) for a, b in zip(z[::2], z[1::2], strict=True)) / 4

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=1e-6)


def epoch_seconds(module: pl.LightningModule, loader: DataLoader | None = None) -> float:
    """Seconds of one epoch, start-up of Lightning included."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    extras = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    settings = {"precision": "bf16-mixed" if device() == "cuda" else "32-true", "max_epochs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quiet = dict.fromkeys(extras, False)
        trainer = pl.Trainer(accelerator="auto", devices=1, **settings, **quiet)
        start = time.perf_counter()
        trainer.fit(module, loader)
    return time.perf_counter() - start


def training_set(data_root: str | None, number: int) -> ImageSet:
    """CIFAR-10, or random images of its shape."""
    if data_root:
        return load("cifar10", data_root, "train", number)
    images = torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8)
    return ImageSet(images, torch.zeros(number, dtype=torch.long), [str(k) for k in range(10)])


def main() -> None:
    """Seconds of an epoch, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root")
    parser.add_argument("--images", type=int, default=5000)
    given = parser.parse_args()
    train = training_set(given.data_root, given.images)
    config = TrainConfig(dataset="cifar10", backbone="resnet18", epochs=1)
    method = build(config, 10).to(device())
    ours = epoch_seconds(PretrainModule(config, method, train.to(device()), {}))
    options = {"batch_size": 128, "shuffle": True, "drop_last": True, "num_workers": 2}
    peer = epoch_seconds(Stock(), DataLoader(Images(train.images), **options))
    kind = "CIFAR-10" if given.data_root else "random images of its shape"
    what = {"data": kind, "images": given.images, "epochs": 1, "rounds": 1}
    rows = []
    for name, seconds in {"ours": ours, "lightly, stock": peer}.items():
        rows.append({**what, "candidate": name, "seconds": seconds, "times_ours": seconds / ours})
    publish("epoch", rows)


if __name__ == "__main__":
    main()
