"""What the names of a network's arrays begin with where it is a part of a larger module."""

from __future__ import annotations

import collections
import re
from collections.abc import Collection, Iterable

_WRAPPER_NAMES = (
    *("module", "_orig_mod", "model", "network", "net", "base_model", "backbone", "encoder"),
    *("student", "encoder_q", "state_dict"),
)
_PREFIX = re.compile(rf"({'|'.join(_WRAPPER_NAMES)})\.")
"""What the names of a network get that is a part of a larger module, one or more of them."""

_MODULE = re.compile(r"\w+\.")
"""A module of another name that a network may be in, or its number in a sequence."""

_DEEPEST, _MOST = 6, 32
"""Prefixes of so many parts are looked for, and so many different ones."""


def is_usual(prefix: str) -> bool:
    """Whether a prefix begins with a name that training programs use, such as ``module.``."""
    return _PREFIX.match(prefix) is not None


def prefixes(keys: Collection[str]) -> list[str]:
    """Prefixes that names there have, to be tried in this order.

    "" comes first, then those that training programs use, then names of modules that a quarter of
    the names begin with, such as ``cnn.``; the more frequent ones first.
    """
    usual: collections.Counter[str] = collections.Counter()
    others: collections.Counter[str] = collections.Counter()
    for key in keys:
        end, counts = 0, usual
        for _ in range(_DEEPEST):
            match = _PREFIX.match(key, end)
            if match is None:
                counts, match = others, _MODULE.match(key, end)
            if match is None:
                break
            end = match.end()
            counts[key[:end]] += 1
    frequent = {prefix: n for prefix, n in others.items() if 4 * n >= len(keys)}
    by_count = [*usual.most_common(_MOST), *collections.Counter(frequent).most_common(_MOST)]
    return ["", *(prefix for prefix, _ in by_count)]


def without_prefix(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """The names there, without as much of the prefix as each of them has.

    Where two names would become the same, the one that has less of the prefix becomes "": it is
    of another part.
    """
    parts = prefix.split(".")[:-1]
    ends = [len(".".join(parts[:count])) + 1 for count in range(1, len(parts) + 1)]
    common = {key: max((e for e in ends if key[:e] == prefix[:e]), default=0) for key in keys}
    taken: set[str] = set()
    short = {}
    for key in sorted(common, key=lambda key: -common[key]):
        name = key[common[key] :]
        short[key] = "" if name in taken else name
        taken.add(name)
    return {key: short[key] for key in common}
