"""Images per second of a training step and of an evaluation, for all that the paper's runs need.

`make plan` multiplies them out. A large image takes seconds on a CPU, so batches are smaller there:
32 images from 96 pixels on, 4 from 224.
"""

import torch
from common import device, publish, timed

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.files import project_root
from infomax_nb.methods import build
from infomax_nb.views.batch import MultiView

ROUNDS = 5


def kinds() -> list[TrainConfig]:
    """One configuration for each network, stem, image size and method of params/paper.

    The small ResNet's is among them, too.
    """
    files = sorted((project_root() / "params" / "paper").glob("*.yaml"))
    configs = [TrainConfig(dataset="cifar10"), *(TrainConfig.from_yaml(file) for file in files)]
    return list({tuple(key(config).values()): config for config in configs}.values())


def key(config: TrainConfig) -> dict[str, str | int]:
    """What the throughput depends on."""
    names = {"backbone": config.backbone, "stem": config.stem, "image_size": config.size}
    return names | {"method": config.method, "proj_dim": config.proj_dim}


def batch_size(size: int) -> int:
    """Images in a step, of `size` pixels."""
    if device() == "cuda" or size < 96:
        return 128
    return 32 if size < 224 else 4


class Step:
    """A training step with all its parts: views, forward, backward, optimiser.

    Args:
        method: what is trained.
        images: uint8 (B, 3, H, W).
        labels: int64 (B,).
    """

    def __init__(self, method: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor):
        self.method = method
        self.images = images
        self.labels = labels
        self.optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3, fused=True)
        self.draw_views = MultiView(method.view_specs(images.shape[-1]))
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self) -> None:
        self.method.train()
        with torch.autocast(device(), torch.bfloat16, enabled=device() == "cuda"):
            views = self.draw_views(self.images, self.generator)
            loss = self.method(views, self.labels)["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.method.after_backward()


def throughput(config: TrainConfig) -> dict:
    """Images per second of training and of evaluation, medians over rounds."""
    batch = batch_size(config.size)
    shape = (batch, 3, config.size, config.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device())
    labels = torch.randint(0, 10, (batch,), device=device())
    method = build(config, 10).to(device())
    few = ImageSet(images.repeat(4, 1, 1, 1), labels.repeat(4), [str(k) for k in range(10)])
    width = method.backbone.num_features
    evaluation = OnlineEvaluation(few, few, width, 0, torch.device(device()))
    step = Step(method, images, labels)
    candidates = {"step": step, "evaluation": lambda: evaluation(method.backbone, 0)}
    rows = timed(candidates, ROUNDS, ours="step")
    seconds = {row["candidate"]: row["seconds"] for row in rows}
    rates = {"images_per_second": batch / seconds["step"]}
    rates["evaluated_per_second"] = 2 * len(few) / seconds["evaluation"]
    return {**key(config), "batch": batch, **rates}


def main() -> None:
    """All networks, one after another."""
    rows = []
    for config in kinds():
        rows.append(throughput(config))
        print(rows[-1], flush=True)
    publish("throughput", rows)


if __name__ == "__main__":
    main()
