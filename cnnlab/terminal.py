"""Standard output that takes any character and may be closed by its reader."""

import codecs
import io
import pathlib
import sys
import unicodedata
import warnings
from typing import Any, TextIO

_SPELLED = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{BULLET}": "*",
    "\N{MIDDLE DOT}": "*",
}
_ERRORS = "cnnlab.plain"


def show_messages_only() -> None:
    """Shows warnings of this project as their message, and drops what Orbax left undone.

    Where one array of a checkpoint is damaged, Orbax raises that, and the coroutines of the others
    are never asked for theirs: Python would print a trace of each as it is thrown away.
    """
    warnings.formatwarning = _format_warning
    sys.unraisablehook = _show_unraisable


_PROJECT = str(pathlib.Path(__file__).parent)
_formatwarning = warnings.formatwarning


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    if filename.startswith(_PROJECT):
        return f"warning: {message}\n"
    return _formatwarning(message, category, filename, lineno, line)


def _show_unraisable(unraisable: Any) -> None:
    code = getattr(unraisable.object, "cr_code", None)
    if code is None or "orbax" not in pathlib.Path(code.co_filename).parts:
        sys.__unraisablehook__(unraisable)


def plain(text: str) -> str:
    """ASCII of a text: "±" becomes "+-", "é" becomes "e", what has no spelling "?"."""
    spelled = "".join(_SPELLED.get(character, character) for character in text)
    decomposed = unicodedata.normalize("NFKD", spelled)
    kept = (c for c in decomposed if not unicodedata.combining(c))
    return "".join(c if c.isascii() else "?" for c in kept)


def forgiving(stream: TextIO) -> TextIO:
    """A stream in the place of one that cannot write every character, or whose reader may go.

    What its encoding lacks is written as ``plain`` spells it. Where the reader closes the pipe, as
    ``head`` does, what follows is dropped, and the program goes on. Each line is written at once.

    Args:
      stream: such as ``sys.stdout``; one that is not an open file, such as a test's, is returned.
    """
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return stream
    codecs.register_error(_ERRORS, _spell)
    stream.flush()
    file = io.BufferedWriter(_Pipe(descriptor, "w", closefd=False))
    errors = _ERRORS if stream.errors in ("strict", "surrogateescape") else stream.errors
    return io.TextIOWrapper(file, stream.encoding, errors, line_buffering=True)


def make_forgiving() -> None:
    """Makes the process's standard output and standard error ``forgiving``, once."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, forgiving(stream))


class _Pipe(io.FileIO):
    """A file that drops what nobody reads any more."""

    def write(self, data: "io.ReadableBuffer", /) -> int:  # type: ignore[name-defined]
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end
