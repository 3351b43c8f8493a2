"""The fields of a stored config: that none has another name or another type.

Importing this module imports no jax.
"""

import difflib
import pathlib
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from cnnlab.spelling import nearest, some


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
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            shown = str(hints[name]).replace("typing.", "").replace("pathlib.", "")
            shown = hints[name].__name__ if isinstance(hints[name], type) else shown
            raise ValueError(f"{name} must be {shown}, got {value!r:.60}")


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
