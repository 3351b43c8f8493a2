"""The fields of a config: that none has another name or another type.

Importing this module imports no jax.
"""

import dataclasses
import difflib
import functools
import pathlib
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from cnnlab.spelling import nearest, some, unknown


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Refuses a name that stands in the place of a known one: that one would get its default.

    Names that nothing known is missing for are those of another version or another experiment.

    Raises:
      ValueError: naming both.
    """
    names = set(names)
    missing = [name for name in known if name not in names]
    for name in sorted(names - set(known)):
        if difflib.get_close_matches(name, missing, n=1, cutoff=0.8):
            raise ValueError(f"it has no setting {name!r}.{nearest(name, missing)}")


def check_no_others(names: Iterable[str], known: Collection[str]) -> None:
    """Refuses names that are not known.

    Raises:
      ValueError: naming them.
    """
    others = sorted(set(names) - set(known))
    if others:
        raise ValueError(f"this version has no setting {some(map(repr, others))}")


def check_types(kind: type, values: Mapping[str, Any]) -> None:
    """Refuses values of another type than the annotation of their field.

    Args:
      kind: a dataclass.
      values: of some of its fields, by name.

    Raises:
      ValueError: naming the field, its type and the value.
    """
    hints = _hints(kind)  # type: ignore[arg-type]
    for name, value in values.items():
        if not _fits(value, hints[name]):
            _check_choice(name, value, hints[name])
            shown = str(hints[name]).replace("typing.", "").replace("pathlib.", "")
            shown = hints[name].__name__ if isinstance(hints[name], type) else shown
            raise ValueError(f"{name} must be {shown}, got {value!r:.60}")


def check_fields(config: Any) -> None:
    """Checks the types of a new frozen dataclass.

    Strings become paths and lists tuples where those are expected, numbers of numpy those of
    Python, so that the fields are what the command line gives and what JSON can hold.

    Raises:
      ValueError: for a value of another type, naming the field, its type and the value.
    """
    kind: Any = type(config)
    hints = _hints(kind)
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for name, value in values.items():
        values[name] = _converted(value, hints[name])
        if values[name] is not value:
            object.__setattr__(config, name, values[name])
    check_types(kind, values)


class CheckedFields:
    """Base of a frozen dataclass of settings: values of other types than its fields' are errors."""

    def __post_init__(self) -> None:
        """As ``check_fields`` does."""
        check_fields(self)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _converted(value: Any, hint: Any) -> Any:
    if isinstance(value, list | tuple) and "tuple[" in str(hint):
        parts = tuple(_converted(each, hint) for each in value)
        same = isinstance(value, tuple) and all(a is b for a, b in zip(parts, value, strict=True))
        return value if same else parts
    if isinstance(value, str) and "Path" in str(hint):
        return pathlib.Path(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value


def _check_choice(name: str, value: Any, hint: Any) -> None:
    """Refuses a word that is not one of a few, naming the nearest."""
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    if choices and isinstance(value, str):
        raise ValueError(unknown(name.replace("_", " "), value, choices))


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in arguments)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        if arguments[-1] is Ellipsis:
            return all(_fits(each, arguments[0]) for each in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if hint is None or hint is types.NoneType:
        return value is None
    if hint in (int, float):
        numbers = int if hint is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    if hint in (bool, str):
        return type(value) is hint
    if hint is pathlib.Path:
        return isinstance(value, pathlib.Path)
    return True
