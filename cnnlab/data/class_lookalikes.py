"""Names of classes that look the same, which would make two classes of one."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from cnnlab.spelling import some


def check_names(names: Sequence[str], where: object) -> None:
    """Refuses names that look the same: an accent in two spellings, or "cat" and "cat ".

    Args:
      names: of the classes.
      where: they are, for the message, such as a folder.

    Raises:
      ValueError: naming them.
    """
    pairs = _pairs(names, lambda name: " ".join(unicodedata.normalize("NFC", name).split()))
    if pairs:
        raise ValueError(
            f"{where}: classes must have names that differ to the eye, got {some(pairs)}. Join or "
            "rename them."
        )


def case_notes(names: Sequence[str]) -> tuple[str, ...]:
    """A note on names that differ in case only, such as "Cat" and "cat"; none where none do."""
    pairs = _pairs(names, str.casefold)
    return (f"classes that differ in case only: {some(pairs)}",) if pairs else ()


def _pairs(names: Iterable[str], plain: Callable[[str], str]) -> list[str]:
    seen: dict[str, str] = {}
    pairs = []
    for name in names:
        other = seen.setdefault(plain(name), name)
        if other != name:
            pairs.append(f"{other!a} and {name!a}")
    return pairs
