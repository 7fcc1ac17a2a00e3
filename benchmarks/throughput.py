"""Images per second of a training step and of an evaluation, for every network and size that the
paper's runs need.

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


def kinds() -> dict[tuple, TrainConfig]:
    """One configuration for each network, stem, image size and method of params/paper, and the
    small ResNet's."""
    files = sorted((project_root() / "params" / "paper").glob("*.yaml"))
    configs = [TrainConfig(dataset="cifar10"), *(TrainConfig.from_yaml(file) for file in files)]
    return {(c.backbone, c.stem, c.size, c.method, c.proj_dim): c for c in configs}


def main() -> None:
    """Median over rounds; a step has all its parts: views, forward, backward, optimiser."""
    rows = []
    for (backbone, stem, size, name, width), config in kinds().items():
        batch = 128 if device() == "cuda" or size < 96 else 32 if size < 224 else 4
        images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=device())
        labels = torch.randint(0, 10, (batch,), device=device())
        method = build(config, 10).to(device())
        optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3, fused=True)
        make, generator = MultiView(method.view_specs(size)), torch.Generator().manual_seed(0)
        few = ImageSet(images.repeat(4, 1, 1, 1), labels.repeat(4), [str(k) for k in range(10)])
        evaluation = OnlineEvaluation(
            few, few, method.backbone.num_features, 0, torch.device(device())
        )

        def step(
            method=method,
            optimizer=optimizer,
            make=make,
            generator=generator,
            images=images,
            labels=labels,
        ):
            method.train()
            with torch.autocast(device(), torch.bfloat16, enabled=device() == "cuda"):
                loss = method(make(images, generator), labels)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            method.after_backward()

        candidates = {"step": step, "evaluation": lambda e=evaluation, m=method: e(m.backbone, 0)}
        seconds = {
            row["candidate"]: row["seconds"] for row in timed(candidates, ROUNDS, ours="step")
        }
        row = {
            "backbone": backbone,
            "stem": stem,
            "image_size": size,
            "method": name,
            "proj_dim": width,
        }
        row |= {"batch": batch, "images_per_second": batch / seconds["step"]}
        rows.append(row | {"evaluated_per_second": 2 * len(few) / seconds["evaluation"]})
        print(rows[-1], flush=True)
    publish("throughput", rows)


if __name__ == "__main__":
    main()
