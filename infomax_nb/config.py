"""`TrainConfig`, the validated description of one run, and the parameter files it is read from."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infomax_nb.errors import ParameterError, not_allowed, one_line
from infomax_nb.files import data_folder, runs_folder
from infomax_nb.objective import KAPPA, KAPPA_MAX
from infomax_nb.parsing import as_list, at_least, is_none, meant, rising
from infomax_nb.symbols import MAX_CLASSES
from infomax_nb.views.recipes import LIKE_OURS, check_patches, check_views, same_as_own

# The side in pixels to which images are scaled where they differ in size or are larger than 32.
SIZES = {"stl10": 96, "lc25000": 96, "lc25000_groups": 96, "folder": 96}
SIZES |= {"imagenet": 224, "imagenet100": 224}
Small = Literal[
    "glyphs", "glyphs_textured", "fashion_mnist", "cifar10", "cifar100", "tiny_imagenet"
]
Large = Literal["stl10", "lc25000", "lc25000_groups", "folder", "imagenet", "imagenet100"]
SelfSupervised = Literal["infomax", "simclr", "vicreg", "barlow_twins", "byol", "dino"]
Family = Literal["l_out", "dcl", "pvc_geometric", "pvc_arithmetic"]
Backbone = Literal["resnet_small", "resnet18", "resnet50", "vit_tiny", "vit_mini"]
Recipe = Literal["dino", "simclr", "vicreg", "byol", "supervised"]
PATCHES = {"vit_tiny": 16, "vit_mini": 4}  # pixels of a patch; a ViT's images are whole patches
# The values of these fields in a run, a checkpoint or a network's record that does not name them.
UNSAID = {"device": "cpu", "precision": "32", "recipe": 1}


class TrainConfig(BaseModel):
    """Everything that decides a run's result. Frozen.

    `data_root` and `runs_dir` are places, not part of a run's identity. The one exception is the
    data set `folder`, which is identified by the absolute path of `data_root`.

    Args:
        method: the method that trains the network; the last four are ours with another loss.
        dataset: the data set.
        data_root: the folder that holds the data set.
        n_train: number of training images, a stratified draw decided by `seed`; None for all.
        n_classes: number of classes of `glyphs`.
        image_size: pixels of the square images; None for the data set's own.
        damaged: whether image files that cannot be decoded are refused by name, or skipped.
        backbone: the network.
        stem: a ResNet's first layers: `imagenet`, or `small` for images near 32 pixels.
        epochs: passes over the training images; a branch counts its trunk's, too.
        batch_size: images in each step.
        lr: AdamW's learning rate.
        decay_epochs: number of last epochs over which `lr` falls to zero, linearly by steps.
        weight_decay: AdamW's weight decay.
        seed: the seed of all random numbers.
        kappa: concentration of the kernel (Eq. 1).
        alpha: weight of the global entropy (Eq. 4).
        beta: weight of the local entropy (Eq. 4).
        proj_dim: dimension of the projections.
        eval_every: epochs between evaluations; the last epoch is always evaluated. Each evaluation
            trains the linear head further.
        eval_first: number of first epochs that are all evaluated.
        augmentation: the recipe of the views, for any method (`dino` is the paper's, Section 3).
            None is the method's own. Naming its own recipe means the same, except for DINO, whose
            own crops are narrower.
        local_views: number of half-size views added to the recipe's two (`supervised`: one). None
            is the method's own number. Giving that number means the same, except for DINO.
        momentum_schedule: whether a teacher's momentum rises by epochs or by steps.
        start_from: name of a run in `runs_dir`, the trunk. This run is then a branch: it starts
            with the trunk's weights, optimiser, online head and history after `start_epoch`. It
            may have its own epochs, rates, kappa, alpha, beta, momentum schedule and evaluations.
        start_epoch: an epoch whose checkpoint the trunk has kept.
        keep_epochs: epochs whose checkpoints are kept, so that branches can start there. A finished
            run is not retrained for them.
        device: where networks are trained.
        precision: `32` is float32, `bf16` trains networks under bfloat16 autocast; `auto` is
            `bf16` on CUDA and `32` on the CPU. What counts is what a run really uses.
        recipe: version of how views are drawn. Runs of an older one can be read but not trained.
        runs_dir: the folder that holds the runs.

    Raises:
        ParameterError: a name is unknown or a value is not allowed.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    method: Literal[SelfSupervised, "supervised", Family] = "infomax"
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

    def __init__(self, /, **values: Any):
        refuse_unknown(values, type(self).model_fields)
        try:
            super().__init__(**_as_meant(values))
        except ValidationError as error:
            raise ParameterError(_explain(error)) from None
        for name in ("data_root", "runs_dir"):
            if not getattr(self, name):
                raise not_allowed(name, "", "a folder, such as . or runs")
        if self.n_train is not None and self.n_train < self.batch_size:
            raise not_allowed("n_train", self.n_train, f"at least batch_size = {self.batch_size}")
        check_views(self.method, self.augmentation, self.local_views, self.size)
        patch = PATCHES.get(self.backbone)
        if patch:
            check_patches(self.backbone, patch, self.method, self.local_views, self.size)
        self._check_epochs()

    def _check_epochs(self) -> None:
        """Refuse a `start_epoch` or `keep_epochs` that this run cannot have."""
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
        """The configuration as it would be run on this machine.

        `auto` is replaced by the device and the precision that a run uses if it starts here. The
        path of a `folder` becomes absolute. What asks for the method's own views becomes None.
        """
        from infomax_nb.device import expected  # which imports torch

        device, precision = expected(self.device, self.precision)
        changes: dict[str, Any] = {"device": device, "precision": precision}
        if self.dataset == "folder":
            changes["data_root"] = str(data_folder(self.data_root))
        same = same_as_own(self.method, self.augmentation, self.local_views, self.size)
        return self.replace(**changes, **dict.fromkeys(same))

    def identity(self) -> dict[str, Any]:
        """The fields that the result depends on, without places and what the method ignores.

        `device` and `precision` are those that a run uses if it starts here. The CPU is left out,
        and so is float32 on it.
        """
        here = self.resolved()
        ignored = {"runs_dir", "keep_epochs"}
        if self.dataset != "folder":
            ignored |= {"data_root"}
        if not self.dataset.startswith("glyphs"):
            ignored |= {"n_classes"}
        if self.method != "infomax":
            ignored |= {"alpha", "beta"}
        if self.method not in LIKE_OURS:
            ignored |= {"kappa", "proj_dim"}
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

        Only values that differ from a default count, so a field added later renames no run.
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

    def replace(self, /, **changes: Any) -> "TrainConfig":
        """The same configuration with some fields changed, validated again.

        >>> TrainConfig(kappa=1).replace(beta=0.5).kappa
        1.0
        """
        return type(self)(**{**self.model_dump(), **changes})

    @classmethod
    def from_yaml(cls, path: str | Path, /, **changes: Any) -> "TrainConfig":
        """The configuration in a parameter file (`params/*.yaml`), with some fields changed."""
        return cls(**text_where_text_is_meant({**read_yaml(path), **changes}))


def common_size(dataset: str, image_size: int | None) -> int | None:
    """The side in pixels that images are scaled to: `image_size`, else the data set's usual one.

    None where all images have the same size and keep it.
    """
    return image_size or SIZES.get(dataset)


def _as_meant(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as pydantic takes them: words for None, epochs in a text and precision 32 read."""
    fields = TrainConfig.model_fields
    known = {}
    for name, value in values.items():
        known[name] = None if fields[name].default is None and is_none(value) else value
        if isinstance(value, bool):
            raise not_allowed(name, value, "a number or text, not a boolean")
    if known.get("device") == "mps":
        untried = "training was never tried on Apple's GPUs; use cpu, as auto does on a Mac"
        raise ParameterError(f"device = 'mps' is not allowed: {untried}.")
    if known.get("precision") in (32, 32.0):
        known["precision"] = "32"
    epochs = known.get("keep_epochs")
    if epochs is not None:
        nothing = as_list(epochs) in ([], [""])
        kept = [] if nothing else meant("keep_epochs", epochs, rising(at_least(1)), True)
        known["keep_epochs"] = tuple(kept) or None
    return known


def text_where_text_is_meant(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, as text again where papermill or YAML read a number: a folder called 2024."""
    texts = {name for name, field in TrainConfig.model_fields.items() if field.annotation is str}
    read = dict(values)
    for name in texts & read.keys():
        if isinstance(read[name], int | float | date) and not isinstance(read[name], bool):
            read[name] = str(read[name])
    return read


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A parameter file as a dictionary, read safely.

    Raises:
        ParameterError: it cannot be read, or is not a mapping of names to values.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"There is no parameter file {path}.") from None
    except (OSError, ValueError, yaml.YAMLError) as error:  # a date that is none, no text
        reason = f"cannot be read as a parameter file: {one_line(error)}"
        raise ParameterError(f"{path} {reason}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        form = "it must hold lines of the form 'name: value'"
        raise ParameterError(f"{path} is not a parameter file: {form}.")
    return values


def refuse_unknown(names: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise ParameterError for the first name that is not allowed, and suggest the nearest one."""
    for name in names:
        if name in allowed:
            continue
        near = difflib.get_close_matches(name.lower(), allowed, 1, 0.5)  # so KAPPA is near kappa
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
