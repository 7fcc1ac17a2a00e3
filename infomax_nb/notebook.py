"""A notebook's parameters: what its `parameters` cell holds and what papermill puts in their place,
validated.

papermill hands over text (`-r`), a number or text (`-p`) or what YAML makes of it (`-y`, `-f`),
where the keys of a mapping become text. So a list may come as a list, a single value or its text,
and a number as text. Whatever it was, `notebook_parameters` gives the value that was meant, or
raises one `ParameterError` before any work.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from symtable import symtable
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from infomax_nb.config import TrainConfig, absent, as_text, refuse_unknown
from infomax_nb.errors import ParameterError
from infomax_nb.losses import KAPPA_MAX


def is_interactive() -> bool:
    """Whether a person is at the other end of a notebook's kernel, not papermill, nbconvert or
    nbval."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


def as_list(value: Any) -> list:
    """What was given for a list: a list (tuple, range, array), its text as YAML, or a single value.

    Numbers in a text stay text, for YAML's 010 is 8 and its 1:30 is 90. A text that is no YAML is a
    single value.
    """
    value = _parsed(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple | range) else [value]


def _parsed(value: Any) -> Any:
    """What YAML reads in a text, in which every name and number stays text; else, or if it is no
    YAML, the value."""
    try:
        return yaml.load(value, yaml.BaseLoader) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value


def _once_each(values: list) -> list:
    if not values:
        raise PydanticCustomError("empty", "Input should hold at least one value")
    return list(dict.fromkeys(values))


def _as_table(value: Any) -> Mapping:
    table = _parsed(value)
    if not isinstance(table, Mapping) or not table:
        raise PydanticCustomError("table", "Input should be a table such as {3: 10, 16: 50}")
    return table


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "Input should be a number or text, not a boolean")
    return value


def _a_name(text: str) -> str:
    """A folder's name below `reports/`."""
    if not text.replace("_", "a").isalnum():
        raise PydanticCustomError("name", "Input should be a name of letters, digits and '_'")
    return text


def _single(kind: Any, *limits: Any) -> Any:
    return Annotated[(kind, *limits, BeforeValidator(_no_boolean))]


def _from(least: int) -> Any:
    return _single(int, Field(ge=least))


def _several(kind: Any) -> Any:
    return Annotated[list[kind], BeforeValidator(as_list), AfterValidator(_once_each)]


def _by_dimension(kind: Any) -> Any:
    """One for each D."""
    return Annotated[dict[_from(2), kind], BeforeValidator(_as_table)]  # type: ignore[misc]  # made here


def _as_field(name: str) -> Any:
    """The type of one value of that field of `TrainConfig`, with its limits."""
    field = TrainConfig.model_fields[name]
    return _single(field.annotation, *field.metadata)


_KNOWN = json.loads(Path(__file__).with_name("parameters.json").read_text("utf-8"))


_CONCENTRATION = _single(float, Field(gt=0, le=KAPPA_MAX))


# Lists of values to run in turn. None: the field's one value.
LISTS = {
    name: _several(_as_field(field)) for name, field in _KNOWN["lists of a field's values"].items()
}


# Notebook 10's numbers of points, of pairs (an eighth of them must be two) and of views, which it
# takes in their order.
SIZES = {
    name: Annotated[_several(_from(least)), AfterValidator(sorted)]
    for name, least in _KNOWN["lists of whole numbers, at least"].items()
}


# Notebook 10's concentrations for each D: one of them, or a list.
TABLES = {
    "concentrations": _by_dimension(_CONCENTRATION),
    "channels": _by_dimension(_several(_CONCENTRATION)),
}


TEXTS = dict.fromkeys(("photos", "network", "hierarchy_csv"), _single(str))


TEXTS["export"] = _single(str, AfterValidator(_a_name))


WHOLE = {name: _from(least) for name, least in _KNOWN["whole numbers, at least"].items()}


SINGLE = {**TEXTS, **WHOLE, "views_kappa0": _CONCENTRATION}


EPOCHS = {
    "keep_epochs": Annotated[_several(_from(1)), AfterValidator(sorted)]
}  # a field of `TrainConfig`


TYPES: dict[str, Any] = {**LISTS, **SIZES, **TABLES, **SINGLE, **EPOCHS}


MAY_BE_NONE = (*LISTS, *TEXTS, *EPOCHS, "cut")


@dataclass(frozen=True)
class Parameters:
    """`values`: all parameters that a notebook holds, by name, each validated. `config`: the run
    that they describe."""

    config: TrainConfig
    values: dict[str, Any]


def notebook_parameters(
    namespace: Mapping[str, Any], extra: Iterable[str] = (), fields: Iterable[str] | None = None
) -> Parameters:
    """The parameters of a notebook, validated.

    Args:
        namespace: the notebook's `globals()`, after its `parameters` cell and what papermill
            injected.
        extra: names of the notebook's own parameters, beside the fields of `TrainConfig`. One that
            this module does not know is taken as it is.
        fields: the fields of `TrainConfig` that the notebook reads; None for all, as where it
            trains.

    Raises ParameterError for a value that is not allowed, and for a name that the injected cell
    assigns and nobody reads (papermill only warns).
    """
    extra = tuple(extra)
    fields = tuple(TrainConfig.model_fields if fields is None else fields)
    refuse_unknown(_assigned(namespace.get("In", [])), [*fields, *extra])
    config = TrainConfig(**as_text({name: namespace[name] for name in fields if name in namespace}))
    values = {name: getattr(config, name) for name in fields if name in namespace}
    values |= {name: own_value(name, namespace[name]) for name in extra if name in namespace}
    return Parameters(config, values)


def own_value(name: str, value: Any) -> Any:
    """The value of a notebook's own parameter that is meant by what was given; ParameterError if
    there is none.

    A list without what it names twice; of a name that is not in this module the value as it is.
    """
    if (
        name in MAY_BE_NONE and absent(value) and (name, value) != ("photos", "~")
    ):  # that is a folder: one's home
        return None
    if name not in TYPES:
        return value
    # A folder may be called 2024.
    strict = ConfigDict(allow_inf_nan=False, coerce_numbers_to_str=True)
    try:
        return TypeAdapter(TYPES[name], config=strict).validate_python(value)
    except ValidationError as error:
        raise ParameterError(_refusal(name, value, error)) from None


def listed_epochs(name: str, value: Any) -> tuple[int, ...] | None:
    """The epochs (from 1) that a field of `TrainConfig` lists, rising; None for an empty list,
    ParameterError."""
    return None if as_list(value) in ([], [""]) else tuple(own_value(name, value))


def _refusal(name: str, given: Any, error: ValidationError) -> str:
    first = error.errors()[0]
    allowed = first["msg"].replace("Input should", "must")
    alone = str(first["input"]) == str(given)
    what = "it" if alone else f"{first['input']!r} in it"
    if alone and first["loc"]:  # of the one item of a list
        allowed += ", or a list of such values"
    if alone and name in MAY_BE_NONE:
        allowed += ", or none for the default"
    return f"{name} = {given!r} is not allowed: {what} {allowed}."


def _assigned(cells: list[str]) -> list[str]:
    """Names assigned in the newest block of cells that begin with '# Parameters' (papermill's
    begins so, too)."""
    blocks = groupby(reversed(cells), lambda source: source.lstrip().startswith("# Parameters"))
    newest = next((list(block) for marked, block in blocks if marked), [])
    names = symtable("\n".join(reversed(newest)), "parameters", "exec").get_symbols()
    return [name.get_name() for name in names if name.is_assigned()]
