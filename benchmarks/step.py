"""Where a training step's time goes: 128 images, 8 views, 32 pixels."""

import torch
from common import TRIAL, device, publish, timed

from infomax_nb.config import TrainConfig
from infomax_nb.methods import build
from infomax_nb.views.batch import MultiView


def parts(backbone: str) -> list[dict]:
    """A row for each part of a step with this network."""
    images = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8, device=device())
    method = build(TrainConfig(backbone=backbone), 10).to(device())
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3, fused=True)
    draw_views = MultiView(method.view_specs(32))
    generator = torch.Generator().manual_seed(0)
    same_views = draw_views(images, generator)
    z = [torch.randn(128, 128, device=device(), requires_grad=True) for _ in same_views]

    def step(new_views: bool) -> None:
        with torch.autocast(device(), torch.bfloat16, enabled=device() == "cuda"):
            views = draw_views(images, generator) if new_views else same_views
            loss = method(views, None)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    candidates = {
        "whole step": lambda: step(True),
        "without views": lambda: step(False),
        "views": lambda: draw_views(images, generator),
        "objective": lambda: torch.autograd.grad(method.objective(z), z),
    }
    rows = timed(candidates, 1 if TRIAL else 5, ours="whole step")
    for row in rows:
        row["share_of_step"] = row.pop("times_ours")
    return [{"backbone": backbone, **row} for row in rows]


def main() -> None:
    """Seconds of the parts of a step, for the small ResNet and ResNet-18."""
    rows = parts("resnet_small")
    publish("step", rows if TRIAL else rows + parts("resnet18"))


if __name__ == "__main__":
    main()
