"""`TrainConfig`, the validated description of one run, and the parameter files it is read from."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infomax_nb.errors import ParameterError, not_allowed, one_line
from infomax_nb.files import data_folder, runs_folder
from infomax_nb.objective import KAPPA, KAPPA_MAX
from infomax_nb.parsing import as_list, at_least, is_none, meant, rising
from infomax_nb.symbols import MAX_CLASSES
from infomax_nb.views.recipes import check_patches, check_views, same_as_own

# Pixels that images are scaled to where they differ in size, or are larger than 32.
SIZES = {"stl10": 96, "lc25000": 96, "lc25000_groups": 96, "folder": 96}
SIZES |= {"imagenet": 224, "imagenet100": 224}
Small = Literal[
    "glyphs", "glyphs_textured", "fashion_mnist", "cifar10", "cifar100", "tiny_imagenet"
]
Large = Literal["stl10", "lc25000", "lc25000_groups", "folder", "imagenet", "imagenet100"]
SelfSupervised = Literal["infomax", "simclr", "vicreg", "barlow_twins", "byol", "dino"]
Backbone = Literal["resnet_small", "resnet18", "resnet50", "vit_tiny", "vit_mini"]
Recipe = Literal["dino", "simclr", "vicreg", "byol", "supervised"]
PATCHES = {"vit_tiny": 16, "vit_mini": 4}  # pixels of a patch; a ViT's images are whole patches
# What these fields mean in a run, a checkpoint or a network's record that does not name them.
UNSAID = {"device": "cpu", "precision": "32", "recipe": 1}


class TrainConfig(BaseModel):
    """Everything that decides a run's result. Frozen.

    `data_root` and `runs_dir` say where, not what: they are no part of a run's identity, except
    that the absolute path of `data_root` says which `folder` it is.

    Args:
        method: what trains the network.
        dataset: which images.
        data_root: the folder that holds them.
        n_train: images of the training split, stratified, drawn by `seed`; None for all.
        n_classes: classes of `glyphs`.
        image_size: pixels of the square images; None for the data set's own.
        damaged: image files that cannot be decoded are refused by name, or skipped.
        backbone: the network.
        stem: a ResNet's first layers: `imagenet`, or `small` for images near 32 pixels.
        epochs: passes over the training images, from the first run's beginning on.
        batch_size: images in a step.
        lr: AdamW's learning rate.
        decay_epochs: last epochs in which `lr` falls to zero, by the same amount at each step.
        weight_decay: AdamW's.
        seed: of all random numbers.
        kappa: concentration of the kernel (Eq. 1).
        alpha: weight of the global entropy (Eq. 4).
        beta: weight of the local entropy (Eq. 4).
        proj_dim: dimension of the projections.
        eval_every: epochs between evaluations; the last epoch is always evaluated. Each evaluation
            trains the linear head further.
        eval_first: first epochs that are evaluated, too.
        augmentation: recipe of the views, whatever the method (`dino`: the paper's, Section 3);
            None is the method's own. So is the name of its own recipe, except for DINO, whose own
            crops are narrower.
        local_views: views of half the size beside the recipe's two (`supervised`: one); None is
            the method's own number. So is that number itself, except for DINO.
        momentum_schedule: a teacher's momentum rises from epoch to epoch, or from step to step.
        start_from: name of a run in `runs_dir`, the trunk. This run, a branch, begins as the trunk
            was after `start_epoch`: weights, optimiser, online head and history. It may have its
            own epochs, rates, kappa, alpha, beta, momentum schedule and evaluations.
        start_epoch: an epoch that the trunk has kept.
        keep_epochs: epochs whose checkpoint stays, so that branches can start there. A finished
            run is not trained anew for them.
        device: where networks are trained.
        precision: `32` is float32, `bf16` trains networks under bfloat16 autocast; `auto` is
            `bf16` on CUDA and `32` on the CPU. Both count as what a run really uses.
        recipe: version of the views' drawing. Runs with an older one can be read, not trained.
        runs_dir: the folder that holds the runs.

    Raises:
        ParameterError: a name is unknown or a value is not allowed.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    method: Literal[SelfSupervised, "supervised"] = "infomax"
    dataset: Literal[Small, Large] = "glyphs"
    data_root: str = "data"
    n_train: int | None = Field(None, ge=2)
    n_classes: int = Field(48, ge=2, le=MAX_CLASSES)
    image_size: int | None = Field(None, ge=16, le=512, multiple_of=2)
    damaged: Literal["refuse", "skip"] = "refuse"
    backbone: Backbone = "resnet_small"
    stem: Literal["imagenet", "small"] = "imagenet"
    epochs: int = Field(8, ge=1)
    batch_size: int = Field(128, ge=2)
    lr: float = Field(1e-3, gt=0)
    decay_epochs: int = Field(0, ge=0)
    weight_decay: float = Field(1e-6, ge=0)
    seed: int = Field(0, ge=0, lt=2**31)
    kappa: float = Field(KAPPA, gt=0, le=KAPPA_MAX)
    alpha: float = Field(1.0, ge=0)
    beta: float = Field(1.0, ge=0)
    proj_dim: int = Field(128, ge=2)
    eval_every: int = Field(1, ge=1)
    eval_first: int = Field(0, ge=0)
    augmentation: Recipe | None = None
    local_views: int | None = Field(None, ge=0, le=100)
    momentum_schedule: Literal["epochs", "steps"] = "epochs"
    start_from: str | None = None
    start_epoch: int | None = Field(None, ge=1)
    keep_epochs: tuple[int, ...] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "32", "bf16"] = "auto"
    recipe: Literal[1, 2] = 2
    runs_dir: str = "runs"

    def __init__(self, **values: Any):
        refuse_unknown(values, type(self).model_fields)
        try:
            super().__init__(**_as_meant(values))
        except ValidationError as error:
            raise ParameterError(_explain(error)) from None
        if self.n_train is not None and self.n_train < self.batch_size:
            raise not_allowed("n_train", self.n_train, f"at least batch_size = {self.batch_size}")
        check_views(self.method, self.augmentation, self.local_views, self.size)
        patch = PATCHES.get(self.backbone)
        if patch:
            check_patches(self.backbone, patch, self.method, self.local_views, self.size)
        self._check_epochs()

    def _check_epochs(self) -> None:
        """Refuse epochs to keep or to start at that this run cannot have."""
        name = self.start_from
        start = self.start_epoch
        if name is not None and (Path(name).name != name or name in (".", "..")):
            raise not_allowed("start_from", name, "the name of a run in runs_dir")
        if name is None and start is not None:
            missing = "without start_from, the run to start from"
            raise ParameterError(f"start_epoch = {start} is not allowed {missing}.")
        if name is not None and start is None:
            missing = "without start_epoch, an epoch that it has kept"
            raise ParameterError(f"start_from = {name!r} is not allowed {missing}.")
        if start is not None and start >= self.epochs:
            raise not_allowed("start_epoch", start, f"less than epochs = {self.epochs}")
        if self.decay_epochs > self.epochs:
            raise not_allowed("decay_epochs", self.decay_epochs, f"at most epochs = {self.epochs}")
        for epoch in self.keep_epochs or ():
            limit = f"above start_epoch = {start}"
            if epoch > self.epochs:
                limit = f"at most epochs = {self.epochs}"
            if not (start or 0) < epoch <= self.epochs:
                kept = f"keep_epochs = {list(self.keep_epochs or ())}"
                raise ParameterError(f"{kept} is not allowed: {epoch} in it must be {limit}.")

    def resolved(self) -> "TrainConfig":
        """What the configuration means here, whoever reads it where.

        `auto` is replaced by the device and the precision that a run uses if it starts here, the
        path of a `folder` is absolute, and what asks for the method's own views is None.
        """
        from infomax_nb.device import expected  # which imports torch

        device, precision = expected(self.device, self.precision)
        changes: dict[str, Any] = {"device": device, "precision": precision}
        if self.dataset == "folder":
            changes["data_root"] = str(data_folder(self.data_root))
        same = same_as_own(self.method, self.augmentation, self.local_views, self.size)
        return self.replace(**changes, **dict.fromkeys(same))

    def identity(self) -> dict[str, Any]:
        """What the result depends on: the fields, without places and what the method ignores.

        `device` and `precision` are those that a run uses if it starts here. Float32 on the CPU
        goes without saying.
        """
        here = self.resolved()
        ignored = {"runs_dir", "keep_epochs"}
        if self.dataset != "folder":
            ignored |= {"data_root"}
        if not self.dataset.startswith("glyphs"):
            ignored |= {"n_classes"}
        if self.method != "infomax":
            ignored |= {"kappa", "alpha", "beta", "proj_dim"}
        if self.method not in ("byol", "dino"):
            ignored |= {"momentum_schedule"}
        if here.device == "cpu":
            ignored |= {"device", "precision"} if here.precision == "32" else {"device"}
        return here.model_dump(exclude=ignored)

    @property
    def size(self) -> int:
        """Pixels of the square images that networks are made for."""
        return common_size(self.dataset, self.image_size) or 32

    @property
    def name(self) -> str:
        """The run directory's name: readable, and as unique as `identity()`.

        Only what differs from a default counts, so a field that is added later renames no run.
        """
        unsaid = {name: field.default for name, field in type(self).model_fields.items()}
        unsaid["recipe"] = UNSAID["recipe"]
        changed = {name: value for name, value in self.identity().items() if value != unsaid[name]}
        digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.dataset}-{self.method}-{self.backbone}-{digest}"

    @property
    def run_dir(self) -> Path:
        """The run directory; a relative `runs_dir` lies in the project's folder."""
        return runs_folder(self.runs_dir) / self.name

    def replace(self, **changes: Any) -> "TrainConfig":
        """The same configuration with some fields changed, validated anew.

        >>> TrainConfig(kappa=1).replace(beta=0.5).kappa
        1.0
        """
        return type(self)(**{**self.model_dump(), **changes})

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: Any) -> "TrainConfig":
        """The configuration in a parameter file (`params/*.yaml`), with some fields changed."""
        return cls(**text_where_text_is_meant({**read_yaml(path), **changes}))


def common_size(dataset: str, image_size: int | None) -> int | None:
    """Pixels of a side that images are scaled to: `image_size`, else what suits the data set.

    None where images keep the one size that they have.
    """
    return image_size or SIZES.get(dataset)


def _as_meant(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as pydantic takes them: words for None, the epochs of a text, precision 32."""
    fields = TrainConfig.model_fields
    known = {}
    for name, value in values.items():
        known[name] = None if fields[name].default is None and is_none(value) else value
        if isinstance(value, bool):
            raise not_allowed(name, value, "a number or text, not a boolean")
    if known.get("precision") in (32, 32.0):
        known["precision"] = "32"
    epochs = known.get("keep_epochs")
    if epochs is not None:
        nothing = as_list(epochs) in ([], [""])
        kept = [] if nothing else meant("keep_epochs", epochs, rising(at_least(1)), True)
        known["keep_epochs"] = tuple(kept) or None
    return known


def text_where_text_is_meant(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by name, as text where papermill or YAML made a number of it: a folder called 2024."""
    texts = {name for name, field in TrainConfig.model_fields.items() if field.annotation is str}
    read = dict(values)
    for name in texts & read.keys():
        if isinstance(read[name], int | float) and not isinstance(read[name], bool):
            read[name] = str(read[name])
    return read


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A parameter file as a dictionary, read safely.

    Raises:
        ParameterError: it cannot be read, or is no mapping of names to values.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = f"cannot be read as a parameter file: {one_line(error)}"
        raise ParameterError(f"{path} {reason}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        form = "it must hold lines of the form 'name: value'"
        raise ParameterError(f"{path} is not a parameter file: {form}.")
    return values


def refuse_unknown(names: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise ParameterError for the first of the names that is not allowed, with the nearest one."""
    for name in names:
        if name in allowed:
            continue
        near = difflib.get_close_matches(name.lower(), allowed, 1, 0.5)  # KAPPA is near, too
        hint = f"did you mean '{near[0]}'?" if near else f"the parameters are {', '.join(allowed)}."
        raise ParameterError(f"There is no parameter '{name}': {hint}")


def _explain(error: ValidationError) -> str:
    """One sentence for pydantic's first complaint: the field, its value, and what is allowed."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    allowed = first["msg"].replace("Input should", "must")
    field = TrainConfig.model_fields[name]
    words = [word for kind in get_args(field.annotation) for word in (get_args(kind) or [kind])]
    near = difflib.get_close_matches(str(first["input"]).lower(), map(str, words), 1)
    if field.default is None:
        allowed += ", or none for the default"
    if near:
        allowed += f" (did you mean '{near[0]}'?)"
    return f"{name} = {first['input']!r} is not allowed: it {allowed}."
