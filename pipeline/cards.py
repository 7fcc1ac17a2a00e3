"""The card of a trained network: what its record says, for people, as Markdown."""

from pathlib import Path
from typing import Any

from infomax_nb import models
from infomax_nb.config import UNSAID, TrainConfig
from infomax_nb.evaluation.neighbours import usual_k
from infomax_nb.names import NAMES
from infomax_nb.train.budget import steps
from pipeline.plan import SETS, training_images

TEMPLATE = Path(__file__).with_name("card.md")
NETWORKS = {**NAMES, "vit_mini": "small ViT (patch 4)"}
METHODS = {**NAMES, "infomax": "InfoMax, the paper's objective"}
TIMM = """timm loads it, too, from the file beside this card:

```python
import timm

network = timm.create_model(
    "vit_tiny_patch16_224",
    patch_size=4,
    img_size={size},
    embed_dim=128,
    depth=4,
    num_heads=4,
    num_classes=0,
    checkpoint_path="reports/networks/{name}.safetensors",
)
```"""
HUB = """torch.hub loads it from a checkout, as a plain module:

```python
import torch

network = torch.hub.load(".", "{entry}", source="local")
```"""


def card(name: str, record: dict[str, Any]) -> str:
    """The card of the network of that name."""
    config = TrainConfig(**UNSAID | record["config"])
    network = models.backbone(config.backbone, config.stem, config.size)
    elsewhere = TIMM if config.backbone.startswith("vit") else HUB
    words = {
        **config.model_dump(),
        **{key: record[key] for key in ("trained_on", "knn_top1", "images")},
        "name": name,
        "summary": summary(config, record["images"]),
        "steps": steps(config, record["images"]),
        "minutes": round(record["train_seconds"] / 60),
        "device": record["gpu"] or f"a CPU ({record['cpu']}, threads: {record['threads']})",
        "objective": objective(config),
        "accuracy": accuracy(record),
        "size": config.size,
        "features": network.num_features,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "commit": record["commit"][:10],
        "torch": record["versions"]["torch"],
        "timm": record["versions"]["timm"],
        "elsewhere": elsewhere.format(name=name, size=config.size, entry=name.replace("-", "_")),
        "chance": 100 / len(record["classes"]),
        "copy": ", a copy that is not the published one" if is_copy(record) else "",
    }
    return TEMPLATE.read_text("utf-8").format_map(words)


def summary(config: TrainConfig, images: int) -> str:
    """What it is, in a sentence; `images` is the number that it was trained on."""
    network = NETWORKS.get(config.backbone, config.backbone)
    method = METHODS.get(config.method, config.method)
    dataset = NAMES.get(config.dataset, config.dataset)
    labels = "with" if config.method == "supervised" else "without"
    part = "all" if takes_all(config, images) else "a subset"
    return f"A {network}, trained {labels} labels on {part} of {dataset} by {method}."


def takes_all(config: TrainConfig, images: int) -> bool:
    """Whether a run on so many images is one on all of its data set."""
    if config.n_train is None:
        return True
    return config.dataset in SETS and images == training_images(config.replace(n_train=None))


def objective(config: TrainConfig) -> str:
    """The method, and the values that it alone has."""
    if config.method != "infomax":
        return f"{METHODS.get(config.method, config.method)}, with lightly's loss and settings"
    values = f"κ = {config.kappa:g}, α = {config.alpha:g}, β = {config.beta:g}"
    return f"{METHODS['infomax']}, {values}; projections of {config.proj_dim} numbers"


def accuracy(record: dict[str, Any]) -> str:
    """k-NN's, on the images that it was measured on; and on the copy it was trained on."""
    k = usual_k(record["images"])
    said = f"k-NN (k = {k}), top-1: {record['knn_top1']}% ({record['measured_on']})"
    on_copy = record.get("knn_top1_on_training_copy", record["knn_top1"])
    if on_copy != record["knn_top1"]:
        said += f"; {on_copy}% on the copy that it was trained on"
    return said


def is_copy(record: dict[str, Any]) -> bool:
    """Whether it was trained on a copy of its data set that is not the published one."""
    return "JPEG" in record["trained_on"]
