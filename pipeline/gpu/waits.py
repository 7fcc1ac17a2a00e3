"""Twenty training steps in which whatever waits for the GPU raises an error."""

import logging
import warnings

import pytorch_lightning as pl
import torch

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.methods import build
from infomax_nb.train.module import PretrainModule
from infomax_nb.views.batch import MultiView

WARM = 12  # steps that may wait: kernels are chosen and compiled, a graph is captured
STEPS = 20


def eager_steps(batch: int) -> tuple[float, float]:
    """Views, method, loss and optimiser, called one after another; raises where one waits."""
    method = build(_config(batch), 10).cuda().train()
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3, fused=True)
    views = MultiView(method.view_specs(32))
    images = _images(batch).cuda()
    labels = torch.zeros(batch, dtype=torch.long, device="cuda")
    generator = torch.Generator().manual_seed(0)
    drawn = [views.draw(batch, 32, 32, generator) for _ in range(WARM + STEPS)]
    uploaded = [{name: x.cuda() for name, x in numbers.items()} for numbers in drawn]
    try:
        for step, numbers in enumerate(uploaded):
            if step == WARM:
                torch.cuda.set_sync_debug_mode("error")
            with torch.autocast("cuda", torch.bfloat16):
                loss = method(views.make(images, numbers), labels)["loss"]
            optimizer.zero_grad()
            loss.backward()
            method.after_backward()
            optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return 0.0, 0.0


class RaiseWhereItWaits(pl.Callback):
    """Makes torch raise an error where a step waits, in the steps after the first ones."""

    def on_train_batch_start(self, trainer, module, batch, step) -> None:
        if step == WARM:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer, module, outputs, batch, step) -> None:
        if step == WARM + STEPS - 1:
            torch.cuda.set_sync_debug_mode("default")


def trained_steps(batch: int) -> tuple[float, float]:
    """The steps of a run, by Lightning, as training takes them; raises where one waits."""
    config = _config(batch)
    method = build(config, 10).cuda()
    count = (WARM + STEPS + 1) * batch
    classes = [str(k) for k in range(10)]
    train = ImageSet(_images(count), torch.zeros(count, dtype=torch.long), classes).to("cuda")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    extras = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options: dict = dict.fromkeys(extras, False)
    try:
        with warnings.catch_warnings(action="ignore"):
            trainer = pl.Trainer(
                accelerator="cuda",
                devices=1,
                max_epochs=1,
                precision="bf16-mixed",
                callbacks=[RaiseWhereItWaits()],
                **options,
            )
            trainer.fit(PretrainModule(config, method, train, {}))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return 0.0, 0.0


def _config(batch: int) -> TrainConfig:
    return TrainConfig(dataset="cifar10", backbone="resnet18", batch_size=batch, epochs=1)


def _images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
