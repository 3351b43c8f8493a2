"""Shared by the unpicklers that run no code of a file: an error, stand-ins for its names, checks.

A pickle can name one object many times, so that a few bytes mean much work: the hash of a tuple of
twice the same tuple, forty levels deep, takes hours. Keys are therefore text or plain numbers, and
calls are short: the work grows with the bytes.
"""

import functools
import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

_ARGUMENTS = 16
"""The most that a permitted name is called with; PyTorch's has 8."""

_WHOLE = 2**63
"""No offset, size or key comes up to this."""


class RefusedError(pickle.UnpicklingError):
    """The pickle names a function that files of its kind do not need, or is of another kind."""


class StandIn:
    """The stand-in for a permitted name. Its state cannot be set, so a pickle cannot alter it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise RefusedError("the pickle sets the state of a function; it was not run.")


class CheckedUnpickler(
    pickle._Unpickler
):  # in Python: the one in C cannot be asked to look at keys
    """Reads one pickle, and refuses what would take more work or memory than it has bytes.

    Who inherits it says in ``find_class`` which names are permitted.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]  # since the last mark

    def __init__(self, data: bytes | memoryview, *, encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)

    def find_class(self, module: str, name: str, /) -> Any:
        raise RefusedError(f"the pickle asks for {module}.{name}; it was not run.")

    def load_call(self, load: Callable[[Any], None]) -> None:
        """Looks at the arguments, which lie on top of what is called."""
        arguments = self.stack[-1]
        if type(arguments) is not tuple or len(arguments) > _ARGUMENTS:
            raise RefusedError(f"a call in the pickle must have at most {_ARGUMENTS} arguments.")
        load(self)

    def load_item(self, load: Callable[[Any], None]) -> None:
        """Looks at a key, below its value."""
        check_key(self.stack[-2])
        load(self)

    def load_items(self, load: Callable[[Any], None]) -> None:
        """Looks at the keys, every other of what was put there since the mark."""
        for key in self.stack[::2]:
            check_key(key)
        load(self)

    for _opcode, _look in (
        (pickle.REDUCE, load_call),
        (pickle.NEWOBJ, load_call),
        (pickle.SETITEM, load_item),
        (pickle.SETITEMS, load_items),
        (pickle.DICT, load_items),
    ):
        dispatch[_opcode[0]] = functools.partial(_look, load=dispatch[_opcode[0]])


def check_key(key: Any) -> None:
    """Refuses a key of a dictionary whose hash could be much work.

    Raises:
      RefusedError: if it is neither text nor a number.
    """
    kinds = (str, bytes, bool, float, type(None))
    if type(key) not in kinds and not (type(key) is int and abs(key) < 2 * _WHOLE):
        raise RefusedError(
            f"a key of a dictionary must be text or a number, got a {type(key).__name__}. If you "
            "made the file yourself, save the tensors alone: torch.save(model.state_dict(), path)."
        )


def check_opcodes(stream: io.BytesIO) -> None:
    """Reads to the end of the next pickle of ``stream`` and refuses operations it has no need of.

    Raises:
      RefusedError: for a memo index beyond the bytes, which unpicklers would make room for, codes
        of the extension registry, which are looked up past ``find_class``, sets and objects.
      Exception: of any other kind if the pickle is damaged.
    """
    for opcode, argument, _ in pickletools.genops(stream):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > stream.tell():
            raise RefusedError(f"the pickle has a memo index of {argument}.")
        if opcode.name.startswith("EXT"):
            raise RefusedError("the pickle uses codes of the extension registry.")
        if opcode.name in ("EMPTY_SET", "ADDITEMS", "FROZENSET", "NEWOBJ_EX"):
            raise RefusedError("the pickle holds sets or objects, which tensors have no need of.")
