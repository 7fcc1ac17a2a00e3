"""A notebook's parameters: what its `parameters` cell holds and what papermill puts in their place, validated.

papermill hands over text (`-r`), a number or text (`-p`) or what YAML makes of it (`-y`, `-f`), where the keys of a
mapping become text. So a list may come as a list, a single value or its text, and a number as text. Whatever it was,
`notebook_parameters` gives the value that was meant, or raises one `ParameterError` before any work.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from symtable import symtable
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from .config import ParameterError, TrainConfig, absent, as_text, refuse_unknown
from .losses import KAPPA_MAX


def _as_field(name: str) -> Any:
    """The type of one value of that field of `TrainConfig`, with its limits."""
    field = TrainConfig.model_fields[name]
    return Annotated[(field.annotation, *field.metadata, Field())]


def _a_name(text: str) -> str:
    """A folder's name below `reports/`."""
    if not text.replace("_", "a").isalnum():
        raise PydanticCustomError("name", "Input should be a name of letters, digits and '_'")
    return text


Concentration = Annotated[float, Field(gt=0, le=KAPPA_MAX)]
FromTwo = Annotated[int, Field(ge=2)]

# Lists of values to run in turn, each with the field of `TrainConfig` that it stands for. None: the field's one value.
FIELD_OF = {
    "methods": "method",
    "seeds": "seed",
    "kappas": "kappa",
    "betas": "beta",
    "proj_dims": "proj_dim",
    "lrs": "lr",
    "class_counts": "n_classes",
}
LISTS: dict[str, Any] = {name: _as_field(field) for name, field in FIELD_OF.items()}
# Notebook 10's numbers of points, of pairs (an eighth of them must be two) and of views, which it takes in their order.
SIZES: dict[str, Any] = {"samples": FromTwo, "pairs": Annotated[int, Field(ge=16)], "views": FromTwo}
# Notebook 10's concentrations for each D: one of them, or a list. As they are written.
TABLES = {"concentrations": "{3: 10, 16: 50}", "channels": "{3: [1, 10], 16: [5, 20]}"}
SINGLE: dict[str, Any] = {
    "export": Annotated[str, AfterValidator(_a_name)],
    "photos": str,
    "network": str,
    "hierarchy_csv": str,
    "images": FromTwo,
    "level": Annotated[int, Field(ge=0)],
    "cut": Annotated[int, Field(ge=1)],
    "permutations": Annotated[int, Field(ge=1)],
    "subset": FromTwo,
    "draws": FromTwo,
    "replicates": FromTwo,
    "repeats": FromTwo,
    "batches": FromTwo,
    "views_dim": FromTwo,
    "views_kappa0": Concentration,
}
TEXTS = ("export", "photos", "network", "hierarchy_csv")
MAY_BE_NONE = (*LISTS, *TEXTS, "cut", "keep_epochs")


@dataclass(frozen=True)
class Parameters:
    """`values`: all parameters that a notebook holds, by name, each validated. `config`: the run that they describe."""

    config: TrainConfig
    values: dict[str, Any]


def notebook_parameters(
    namespace: Mapping[str, Any], extra: Iterable[str] = (), fields: Iterable[str] | None = None
) -> Parameters:
    """The parameters of a notebook, validated.

    Args:
        namespace: the notebook's `globals()`, after its `parameters` cell and what papermill injected.
        extra: names of the notebook's own parameters, beside the fields of `TrainConfig`. One that this module does not
            know is taken as it is.
        fields: the fields of `TrainConfig` that the notebook reads; None for all, as where it trains.

    Raises ParameterError for a value that is not allowed, and for a name that the injected cell assigns and nobody
    reads (papermill only warns).
    """
    extra = tuple(extra)
    fields = tuple(TrainConfig.model_fields if fields is None else fields)
    refuse_unknown(_assigned(namespace.get("In", [])), [*fields, *extra])
    config = TrainConfig(**as_text({name: namespace[name] for name in fields if name in namespace}))
    values = {name: getattr(config, name) for name in fields if name in namespace}
    values |= {name: own_value(name, namespace[name]) for name in extra if name in namespace}
    return Parameters(config, values)


def own_value(name: str, value: Any) -> Any:
    """The value of a notebook's own parameter that is meant by what was given; ParameterError if there is none.

    A list without what it names twice; of a name that is not in this module the value as it is.
    """
    if name in MAY_BE_NONE and absent(value) and (name, value) != ("photos", "~"):  # that is a folder: one's home
        return None
    if name in LISTS:
        return _listed(name, value, value, LISTS[name])
    if name in SIZES:
        return sorted(_listed(name, value, value, SIZES[name]))
    if name in TABLES:
        return _table(name, value)
    if name in TEXTS and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # a folder called 2024
    return _checked(name, value, value, SINGLE[name]) if name in SINGLE else value


def listed_epochs(name: str, value: Any) -> tuple[int, ...] | None:
    """The epochs (from 1) that a field of `TrainConfig` lists, rising; None for an empty list, ParameterError."""
    if as_list(value) in ([], [""]):
        return None
    return tuple(sorted(_listed(name, value, value, Annotated[int, Field(ge=1)])))


def as_list(value: Any) -> list:
    """What was given for a list: a list (tuple, range, array), its text as YAML, or a single value.

    Numbers in a text stay text, for YAML's 010 is 8 and its 1:30 is 90. A text that is no YAML is a single value.
    """
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple | range) else [value]


def _parsed(text: str) -> Any:
    """What YAML reads in a text, in which every name and number stays text; the text itself if it is no YAML."""
    try:
        return yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        return text


def _listed(name: str, given: Any, value: Any, kind: Any) -> list:
    """Each value of a list, validated, once."""
    values = as_list(value)
    if not values:
        none = ", or none for the default" if name in MAY_BE_NONE else ""
        raise ParameterError(f"{name} = {given!r} is not allowed: it must hold at least one value{none}.")
    return list(dict.fromkeys(_checked(name, given, each, kind) for each in values))


def _table(name: str, given: Any) -> dict:
    """D and what belongs to it."""
    table = _parsed(given) if isinstance(given, str) else given
    if not isinstance(table, Mapping) or not table:
        raise ParameterError(f"{name} = {given!r} is not allowed: it must be a table such as {TABLES[name]}.")
    read = _listed if "[" in TABLES[name] else _checked
    dims = [_checked(name, given, dim, FromTwo) for dim in table]
    return {dim: read(name, given, value, Concentration) for dim, value in zip(dims, table.values(), strict=True)}


def _checked(name: str, given: Any, value: Any, kind: Any) -> Any:
    """The value as its type; `given` is the whole parameter that it is in."""
    alone = str(value) == str(given)
    what = "it" if alone else f"{value!r} in it"
    if isinstance(value, bool):
        raise ParameterError(f"{name} = {given!r} is not allowed: {what} must be a number or text, not a boolean.")
    try:
        return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        allowed = error.errors()[0]["msg"].replace("Input should", "must")
    if alone and name in (*LISTS, *SIZES, "keep_epochs"):
        allowed += ", or a list of such values"
    if alone and name in MAY_BE_NONE:
        allowed += ", or none for the default"
    raise ParameterError(f"{name} = {given!r} is not allowed: {what} {allowed}.")


def _assigned(cells: list[str]) -> list[str]:
    """Names assigned in the newest block of cells that begin with '# Parameters' (papermill's begins so, too)."""
    blocks = groupby(reversed(cells), lambda source: source.lstrip().startswith("# Parameters"))
    newest = next((list(block) for marked, block in blocks if marked), [])
    names = symtable("\n".join(reversed(newest)), "parameters", "exec").get_symbols()
    return [name.get_name() for name in names if name.is_assigned()]
