"""Read the value that is meant by what people give for a parameter.

papermill hands over text (`-r`), a number or text (`-p`) or what YAML makes of it (`-y`, `-f`),
where the keys of a mapping become text. So a list may come as a list, as a single value or as text,
and a number as text.
"""

from collections.abc import Mapping
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

from infomax_nb.errors import ParameterError


def is_none(value: Any) -> bool:
    """Whether a value means None: None itself, empty text, or a command line's word for it.

    >>> [is_none(value) for value in (None, "null", " ~ ", "0", 0)]
    [True, True, True, False, False]
    """
    words = ("", "~", "none", "null")
    return value is None or (isinstance(value, str) and value.strip().lower() in words)


def as_list(value: Any) -> list:
    """The list that is meant by a list, tuple, range or array, by YAML text, or by one value.

    Numbers in text stay text, for YAML reads 010 as 8 and 1:30 as 90. Text that is not YAML is a
    single value.

    >>> as_list("[1, 010]"), as_list(0.1), as_list(range(2))
    (['1', '010'], [0.1], [0, 1])
    """
    value = _parsed(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple | range) else [value]


def _parsed(value: Any) -> Any:
    """Text read as YAML, with names and numbers left as text; any other value as it is."""
    try:
        return yaml.load(value, yaml.BaseLoader) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value


def _as_table(value: Any) -> Mapping:
    table = _parsed(value)
    if not isinstance(table, Mapping) or not table:
        raise PydanticCustomError("table", "Input should be a table such as {3: 10, 16: 50}")
    return table


def _once_each(values: list) -> list:
    if not values:
        raise PydanticCustomError("empty", "Input should hold at least one value")
    return list(dict.fromkeys(values))


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "Input should be a number or text, not a boolean")
    return value


def single(kind: Any, *limits: Any) -> Any:
    """The type of one value of this kind; booleans are refused."""
    return Annotated[(kind, *limits, BeforeValidator(_no_boolean))]


def at_least(least: int) -> Any:
    """The type of one whole number with this lower limit."""
    return single(int, Field(ge=least))


def several(kind: Any) -> Any:
    """The type of a list with at least one such value, without duplicates."""
    return Annotated[list[kind], BeforeValidator(as_list), AfterValidator(_once_each)]


def rising(kind: Any) -> Any:
    """The type of such a list in rising order."""
    return Annotated[several(kind), AfterValidator(sorted)]


def by_dimension(kind: Any) -> Any:
    """The type of a table with such a value for each dimension D >= 2."""
    dimension = at_least(2)
    table = dict[dimension, kind]  # type: ignore[valid-type]  # a type made at run time
    return Annotated[table, BeforeValidator(_as_table)]


def meant(name: str, given: Any, kind: Any, may_be_none: bool = False) -> Any:
    """The value of this kind that was meant for the parameter `name`.

    Raises:
        ParameterError: what was given cannot be read as this kind. With `may_be_none` the sentence
            says that none is allowed, too.
    """
    strict = ConfigDict(allow_inf_nan=False, coerce_numbers_to_str=True)  # folders called 2024
    try:
        return TypeAdapter(kind, config=strict).validate_python(given)
    except ValidationError as error:
        raise ParameterError(_refusal(name, given, error, may_be_none)) from None


def _refusal(name: str, given: Any, error: ValidationError, may_be_none: bool) -> str:
    first = error.errors()[0]
    allowed = first["msg"].replace("Input should", "must")
    if str(first["input"]) != str(given):
        return f"{name} = {given!r} is not allowed: {first['input']!r} in it {allowed}."
    if first["loc"]:  # the one item of a list
        allowed += ", or a list of such values"
    if may_be_none:
        allowed += ", or none for the default"
    return f"{name} = {given!r} is not allowed: it {allowed}."
