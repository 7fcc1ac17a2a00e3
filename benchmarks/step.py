"""Where a training step's time goes: 128 images, 8 views, 32 pixels."""

import torch
from common import device, publish, timed

from infomax_nb.config import TrainConfig
from infomax_nb.methods import build
from infomax_nb.views.batch import MultiView


def main() -> None:
    """Seconds of the parts of a step, for the small ResNet and ResNet-18."""
    rows = []
    images = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8, device=device())
    for backbone in ("resnet_small", "resnet18"):
        method = build(TrainConfig(backbone=backbone), 10).to(device())
        optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3, fused=True)
        make, generator = MultiView(method.view_specs(32)), torch.Generator().manual_seed(0)
        views = make(images, generator)
        z = [torch.randn(128, 128, device=device(), requires_grad=True) for _ in views]

        def step(
            new: bool,
            method=method,
            optimizer=optimizer,
            make=make,
            generator=generator,
            views=views,
        ):
            with torch.autocast(device(), torch.bfloat16, enabled=device() == "cuda"):
                loss = method(make(images, generator) if new else views, None)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        candidates = {
            "whole step": lambda s=step: s(True),
            "without views": lambda s=step: s(False),
            "views": lambda m=make, g=generator: m(images, g),
            "objective": lambda m=method, z=z: torch.autograd.grad(m.objective(z), z),
        }
        rows += [{"backbone": backbone, **row} for row in timed(candidates, 5, ours="whole step")]
    for row in rows:
        row["share_of_step"] = row.pop("times_ours")
    publish("step", rows)


if __name__ == "__main__":
    main()
