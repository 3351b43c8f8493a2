"""Text in error messages: names near an unknown one, the first few of many, messages of others."""

import difflib
import os
from collections.abc import Iterable

_MOST = 50  # names of what is known


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x' or 'y'?"`` with the names nearest to ``name``, or ``""``.

    Near is what is spelt alike, what has ``name`` as its initials (lr of learning_rate) and what
    has it among its words.
    """
    plain = {n.lower().replace("-", "_"): n for n in known}
    name = name.lower().replace("-", "_")
    alike = difflib.get_close_matches(name, plain, n=3, cutoff=0.6)
    short = [n for n in plain if len(name) > 1 and name == "".join(w[:1] for w in n.split("_"))]
    among = [n for n in plain if name in n.split("_")]
    near = list(dict.fromkeys((*short, *alike, *among)))[:3]
    return f" Did you mean {' or '.join(repr(plain[n]) for n in near)}?" if near else ""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The whole message: ``unknown model 'resent20'. Did you mean …? Known: …``."""
    known = list(known)
    shown = some(known, _MOST) or "none"
    return f"unknown {what} {name!r:.100}.{nearest(name, known)} Known: {shown}."


def some(names: Iterable[str], limit: int = 6) -> str:
    """The first of many names and the number of the others: ``a, b and 3 more``."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def one_line(message: str | BaseException, limit: int = 1000) -> str:
    """A message as one line; of one that is too long, its start and its end with the advice.

    Args:
      message: the text, or the error that has it; one without a text gives its kind.
      limit: of the letters.
    """
    text = " ".join(str(message).split())
    if isinstance(message, BaseException):
        text = text or type(message).__name__
    if len(text) <= limit:
        return text
    end = limit // 3
    return f"{text[: limit - end - 5]} ... {text[-end:]}"


def check_several(what: str, names: Iterable[str]) -> None:
    """Refuses one string where several are expected, since its letters would be taken for them.

    Raises:
      ValueError: for a string, with the tuple to write instead.
    """
    if isinstance(names, str):
        raise ValueError(
            f"{what} must be a tuple of strings, got one string: write ({names!r},) for {names!r}."
        )


def printable(name: str | bytes | os.PathLike[str]) -> str:
    r"""A name as text that UTF-8 can hold, to show and to store.

    What Python keeps of a file name that is not UTF-8 are lone surrogates, which cannot be printed,
    drawn or hashed; they become escapes, such as r"caf\udce9".
    """
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    return text.encode("utf-8", "backslashreplace").decode()
