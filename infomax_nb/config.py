"""`TrainConfig`: the validated description of one run, and the way from notebook parameters to
it."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infomax_nb import device as devices
from infomax_nb.data.glyphs import MAX_CLASSES
from infomax_nb.errors import ParameterError
from infomax_nb.files import data_folder, runs_folder
from infomax_nb.losses import KAPPA_MAX

# Pixels that networks are made for (else 32), and that a set's images are scaled to where they
# differ in size.
SIZES = {
    "stl10": 96,
    "lc25000": 96,
    "lc25000_groups": 96,
    "folder": 96,
    "imagenet": 224,
    "imagenet100": 224,
}


Small = Literal[
    "glyphs", "glyphs_textured", "fashion_mnist", "cifar10", "cifar100", "tiny_imagenet"
]


Large = Literal["stl10", "lc25000", "lc25000_groups", "folder", "imagenet", "imagenet100"]


# What these fields mean in a run, a checkpoint or a network's record that does not name them.
UNSAID = {"device": "cpu", "precision": "32", "recipe": 1}


PATCHES = {
    "vit_tiny": 16,
    "vit_mini": 4,
}  # pixels of a patch: a ViT takes images of a multiple of it


class TrainConfig(BaseModel):
    """Everything that decides a run's result. Frozen; unknown or bad values raise one
    `ParameterError`.

    `n_train`: images of the training split (stratified, by `seed`), None for all. `image_size`:
    pixels of the square images, None for the data set's own. `damaged`: image files that cannot be
    decoded are refused, the first one by its name, or skipped. `n_classes`: classes of `glyphs`.
    `eval_every`: epochs between evaluations (the last epoch is always evaluated). `data_root`,
    `runs_dir` say where, not what: they are no part of the run's identity, but for `folder`, where
    the absolute path of `data_root` says what. `eval_first`: so many first epochs are each
    evaluated beside. Each evaluation trains the linear head further. `decay_epochs`: in so many
    last epochs `lr` falls to zero, by the same amount at each step. `precision`: float32 (`32`), or
    networks trained under bfloat16 autocast (`bf16`); `auto` is `bf16` on CUDA and `32` on the CPU.
    `device` and `precision` count as what a run really uses; float32 on the CPU goes without
    saying. `recipe`: version of the views' drawing, `views.RECIPE`; runs with an older one can be
    read, not trained.

    `augmentation`: the recipe of the views, whatever the method (`dino`: the paper's, Section 3);
    None is the method's own, and so is the name of its own, but for DINO, whose own crops are
    narrower. `local_views`: the number of views of half the size beside the recipe's two
    (`supervised`: one); None is the method's own, and so is that number, but for DINO.
    `momentum_schedule`: a teacher's momentum rises from epoch to epoch, or from step to step.

    `start_from`, `start_epoch`: the run begins as the run of that name in `runs_dir` was after that
    epoch: weights, optimiser, online head and history. It may have its own epochs, rates, kappa,
    alpha, beta, momentum schedule and evaluations; `epochs` counts from the first run's beginning.
    `keep_epochs`: epochs whose checkpoint stays, so that runs can start there. They are kept while
    a run trains: a finished one is not trained anew for them.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    method: Literal["infomax", "simclr", "vicreg", "barlow_twins", "byol", "dino", "supervised"] = (
        "infomax"
    )
    dataset: Literal[Small, Large] = "glyphs"
    data_root: str = "data"
    n_train: int | None = Field(None, ge=2)
    n_classes: int = Field(48, ge=2, le=MAX_CLASSES)
    image_size: int | None = Field(None, ge=16, le=512, multiple_of=2)
    damaged: Literal["refuse", "skip"] = "refuse"
    backbone: Literal["resnet_small", "resnet18", "resnet50", "vit_tiny", "vit_mini"] = (
        "resnet_small"
    )
    stem: Literal["imagenet", "small"] = "imagenet"
    epochs: int = Field(8, ge=1)
    batch_size: int = Field(128, ge=2)
    lr: float = Field(1e-3, gt=0)
    decay_epochs: int = Field(0, ge=0)
    weight_decay: float = Field(1e-6, ge=0)
    seed: int = Field(0, ge=0, lt=2**31)
    kappa: float = Field(10.0, gt=0, le=KAPPA_MAX)
    alpha: float = Field(1.0, ge=0)
    beta: float = Field(1.0, ge=0)
    proj_dim: int = Field(128, ge=2)
    eval_every: int = Field(1, ge=1)
    eval_first: int = Field(0, ge=0)
    augmentation: Literal["dino", "simclr", "vicreg", "byol", "supervised"] | None = None
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
        from infomax_nb import notebook as parameters  # which read this module
        from infomax_nb.train import branches
        from infomax_nb.views import recipes as augmentations

        fields = type(self).model_fields
        refuse_unknown(values, fields)
        for name in (n for n, v in values.items() if fields[n].default is None and absent(v)):
            values[name] = None
        for name in (n for n, v in values.items() if isinstance(v, bool)):
            raise ParameterError(
                f"{name} = {values[name]} is not allowed: it must be a number or text, not a boolean."
            )
        if values.get("precision") in (32, 32.0):
            values["precision"] = "32"  # as papermill and YAML read it
        if values.get("keep_epochs") is not None:
            values["keep_epochs"] = parameters.listed_epochs("keep_epochs", values["keep_epochs"])
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ParameterError(_explain(error, type(self))) from None
        if (n := self.n_train) is not None and n < self.batch_size:
            raise ParameterError(
                f"n_train = {n} is not allowed: it must be at least batch_size = {self.batch_size}."
            )
        augmentations.check_views(self)
        branches.check_epochs(self)

    def resolved(self) -> "TrainConfig":
        """What the configuration means here, whoever reads it where.

        `auto` is replaced by the device and the precision that a run uses if it starts here, the
        path of a `folder` is absolute, and what asks for the method's own views is None.
        """
        from infomax_nb.views.recipes import same_as_own

        device, precision = devices.expected(self.device, self.precision)
        data_root = str(data_folder(self.data_root)) if self.dataset == "folder" else self.data_root
        return self.replace(
            device=device, precision=precision, data_root=data_root, **same_as_own(self)
        )

    def identity(self) -> dict[str, Any]:
        """What the result depends on: all fields but where to read and write, and those the method
        ignores.

        `device` and `precision` are those that a run uses if it starts here, left out for float32
        on the CPU.
        """
        found = self.resolved()
        ignored = {"runs_dir", "keep_epochs"} | (
            set() if self.dataset == "folder" else {"data_root"}
        )
        ignored |= {"device"} if found.device == "cpu" else set()
        ignored |= {"precision"} if (found.device, found.precision) == ("cpu", "32") else set()
        ignored |= set() if self.method == "infomax" else {"kappa", "alpha", "beta", "proj_dim"}
        ignored |= set() if self.method in ("byol", "dino") else {"momentum_schedule"}
        ignored |= set() if self.dataset.startswith("glyphs") else {"n_classes"}
        return found.model_dump(exclude=ignored)

    @property
    def size(self) -> int:
        """Pixels of the square images that networks are made for."""
        return self.image_size or SIZES.get(self.dataset, 32)

    @property
    def name(self) -> str:
        """The run directory's name: readable, and unique to `identity()` (10 and 10.0 are one
        run)."""
        # Only what differs from a default counts, so a field that is added later renames no run;
        # defaults stay.
        unsaid = {name: field.default for name, field in type(self).model_fields.items()}
        unsaid["recipe"] = UNSAID["recipe"]
        changed = {k: v for k, v in self.identity().items() if v != unsaid[k]}
        digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.dataset}-{self.method}-{self.backbone}-{digest}"

    @property
    def run_dir(self) -> Path:
        """The run directory; a relative `runs_dir` lies in the project's folder, whoever calls from
        where."""
        return runs_folder(self.runs_dir) / self.name

    def replace(self, **changes: Any) -> "TrainConfig":
        """The same configuration with some fields changed, validated anew."""
        return type(self)(**{**self.model_dump(), **changes})

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: Any) -> "TrainConfig":
        """The configuration in a parameter file (`params/*.yaml`)."""
        return cls(**as_text({**read_yaml(path), **changes}))

    @classmethod
    def from_notebook(
        cls, namespace: Mapping[str, Any], extra: Iterable[str] = ()
    ) -> "TrainConfig":
        """The configuration in a notebook's parameters.

        Args:
            namespace: the notebook's `globals()`, after its `parameters` cell and what papermill
                injected.
            extra: names of the notebook's own parameters, beside the fields of this class;
                `parameters` validates them.

        Raises ParameterError for a value that is not allowed and for a name that nobody reads.
        """
        from infomax_nb.notebook import notebook_parameters

        return notebook_parameters(namespace, extra).config


def absent(value: Any) -> bool:
    """Whether a value says "none": None, or one of the words for it that a command line takes, or
    no word at all."""
    return (
        value is None
        or isinstance(value, str)
        and value.strip().lower() in ("", "~", "none", "null")
    )


def as_text(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of fields by name, with text where papermill or YAML made a number of it: a folder
    called 2024."""
    texts = {name for name, field in TrainConfig.model_fields.items() if field.annotation is str}
    numbers = {
        k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)
    }
    return {**values, **{name: str(number) for name, number in numbers.items() if name in texts}}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A parameter file as a dictionary, read safely; ParameterError if it is not a mapping of names
    to values."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(
            f"{path} cannot be read as a parameter file: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ParameterError(
            f"{path} is not a parameter file: it must hold lines of the form 'name: value'."
        )
    return values


def refuse_unknown(names: Iterable[str], allowed: Iterable[str]) -> None:
    """ParameterError for the first of the names that is not allowed."""
    for name in (n for n in names if n not in allowed):
        near = difflib.get_close_matches(name.lower(), allowed, 1, 0.5)  # KAPPA is near, too
        hint = f"did you mean '{near[0]}'?" if near else f"the parameters are {', '.join(allowed)}."
        raise ParameterError(f"There is no parameter '{name}': {hint}")


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One sentence for pydantic's first complaint: the field, its value, and what is allowed."""
    first = error.errors()[0]
    name, allowed = str(first["loc"][0]), first["msg"].replace("Input should", "must")
    field = model.model_fields[name]
    words = [word for kind in get_args(field.annotation) for word in (get_args(kind) or [kind])]
    near = difflib.get_close_matches(str(first["input"]).lower(), map(str, words), 1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    none = ", or none for the default" if field.default is None else ""
    return f"{name} = {first['input']!r} is not allowed: it {allowed}{none}{hint}."
