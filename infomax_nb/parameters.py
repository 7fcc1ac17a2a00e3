"""A notebook's parameters, from its `parameters` cell and from papermill, validated."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from symtable import symtable
from typing import Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from infomax_nb.config import TrainConfig, refuse_unknown, text_where_text_is_meant
from infomax_nb.objective import KAPPA_MAX
from infomax_nb.parsing import at_least, by_dimension, is_none, meant, rising, several, single

# --- The types of notebooks' own parameters ---------------------------------------------------


def _field(name: str) -> Any:
    """The type of one value of that field of `TrainConfig`, with its limits."""
    field = TrainConfig.model_fields[name]
    return single(field.annotation, *field.metadata)


def _folder_name(text: str) -> str:
    """A folder's name below `reports/`."""
    if not text.replace("_", "a").isalnum():
        raise PydanticCustomError("name", "Input should be a name of letters, digits and '_'")
    return text


_KNOWN = json.loads(Path(__file__).with_name("parameters.json").read_text("utf-8"))
_KAPPA = single(float, Field(gt=0, le=KAPPA_MAX))

# Lists of values of a field, to run in turn; None stands for the field's single value.
LISTS = {name: several(_field(of)) for name, of in _KNOWN["lists of a field's values"].items()}
TEXTS = dict.fromkeys(("photos", "masked_photos", "network", "hierarchy_csv"), single(str))
TEXTS["export"] = single(str, AfterValidator(_folder_name))
NUMBERS = {name: at_least(least) for name, least in _KNOWN["whole numbers, at least"].items()}
NUMBERS["views_kappa0"] = _KAPPA
# Notebook 10's numbers of points, pairs and views, which it takes in rising order.
SIZES = {
    name: rising(at_least(least))
    for name, least in _KNOWN["lists of whole numbers, at least"].items()
}
# Notebook 10's concentrations for each D: one of them, or a list.
TABLES = {"concentrations": by_dimension(_KAPPA), "channels": by_dimension(several(_KAPPA))}
TYPES: dict[str, Any] = {**LISTS, **TEXTS, **NUMBERS, **SIZES, **TABLES}
MAY_BE_NONE = (*LISTS, *TEXTS, "cut")


# --- A notebook's parameters ------------------------------------------------------------------


@dataclass(frozen=True)
class Parameters:
    """Validated parameters by name (`values`), and the run that they describe (`config`)."""

    config: TrainConfig
    values: dict[str, Any]


def notebook_parameters(
    namespace: Mapping[str, Any], extra: Iterable[str] = (), fields: Iterable[str] | None = None
) -> Parameters:
    """The parameters of a notebook, validated.

    Args:
        namespace: the notebook's `globals()`, after its `parameters` cell and the cell that
            papermill inserts behind it.
        extra: names of the notebook's own parameters, which are not fields of `TrainConfig`. The
            value of one that this module does not know is taken as it is.
        fields: the fields of `TrainConfig` that the notebook reads; None for all.

    Raises:
        ParameterError: a value is not allowed, or papermill was given a name that the notebook
            does not read (papermill itself only warns).
    """
    extra = tuple(extra)
    fields = tuple(TrainConfig.model_fields if fields is None else fields)
    refuse_unknown(_assigned(namespace.get("In", [])), [*fields, *extra])
    given = {name: namespace[name] for name in fields if name in namespace}
    config = TrainConfig(**text_where_text_is_meant(given))
    values = {name: getattr(config, name) for name in given}
    values |= {name: own_value(name, namespace[name]) for name in extra if name in namespace}
    return Parameters(config, values)


def own_value(name: str, value: Any) -> Any:
    """The validated value of a notebook's own parameter.

    A list loses its duplicates. A parameter that this module does not know keeps its value.

    Raises:
        ParameterError: the value cannot be read as an allowed one.
    """
    home_folder = (name, value) == ("photos", "~")
    if name in MAY_BE_NONE and is_none(value) and not home_folder:
        return None
    if name not in TYPES:
        return value
    return meant(name, value, TYPES[name], name in MAY_BE_NONE)


def _assigned(cells: list[str]) -> list[str]:
    """Names assigned in the newest block of cells that begin with '# Parameters'.

    papermill's own cell begins like this, too.
    """
    blocks = groupby(reversed(cells), lambda source: source.lstrip().startswith("# Parameters"))
    newest = next((list(block) for marked, block in blocks if marked), [])
    table = symtable("\n".join(reversed(newest)), "parameters", "exec")
    return [symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()]
