"""What the fields of a model are, in words: for the command line's help and for the site."""

import inspect
import re
from dataclasses import asdict
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

KINDS = {int: "whole number", float: "number", str: "text", tuple[int, ...]: "whole numbers"}
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}


def in_words(model: type[BaseModel]) -> dict[str, tuple[str, str, str]]:
    """For each field of the model what it means, what it may be, and its default.

    What it means stands in the model's docstring, in `Args:`.
    """
    arguments = (inspect.getdoc(model) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"(?m)^    (\w+): ", arguments)
    meanings = {
        name: " ".join(text.split())
        for name, text in zip(entries[1::2], entries[2::2], strict=True)
    }
    words = {}
    for name, field in model.model_fields.items():
        default = "none" if field.default is None else str(field.default)
        words[name] = (meanings[name], allowed_values(field), default)
    return words


def allowed_values(field: FieldInfo) -> str:
    """Type and limits of a model's field.

    >>> from infomax_nb.config import TrainConfig
    >>> allowed_values(TrainConfig.model_fields["n_train"])
    'whole number, >= 2; or none'
    """
    choices = get_args(field.annotation)
    may_be_none = NoneType in choices
    kind: Any = choices[0] if may_be_none else field.annotation
    words = [KINDS.get(kind) or ", ".join(map(str, get_args(kind)))]
    for limit in field.metadata:
        words += [f"{SIGNS[name]} {value}" for name, value in asdict(limit).items()]
    return ", ".join(words) + ("; or none" if may_be_none else "")
