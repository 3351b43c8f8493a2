"""What to say about a name that is not known: the nearest ones that are."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x' or 'y'?"`` with the names nearest to ``name``, or ``""``."""
    plain = {n.lower().replace("-", "_"): n for n in known}
    found = difflib.get_close_matches(name.lower().replace("-", "_"), plain, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(plain[f]) for f in found)}?" if found else ""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The whole message: ``unknown model 'resent20'. Did you mean …? Known: …``."""
    known = list(known)
    return f"unknown {what} {name!r}.{nearest(name, known)} Known: {', '.join(known) or 'none'}."
