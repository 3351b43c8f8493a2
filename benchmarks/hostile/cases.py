"""What a case is, and pickles that call a function: shared by the makers of hostile files."""

import dataclasses
import os
import pathlib
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any, Literal

Reader = Literal["image", "folder", "mnist", "cifar10", "npz", "weights", "record", "program"]
"""What reads it: ``data.read_image``, ``data.load`` of the data set, ``weights.read``, …"""

CANARY = "canary"
"""The name of the file that every exploit here writes into the working folder."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One hostile file.

    Attributes:
      name: says what is hostile in it.
      reader: what reads it.
      file: its name.
      make: writes it to the path that it gets.
      harmless: whether reading it without an error is right, too.
    """

    name: str
    reader: Reader
    file: str
    make: Callable[[pathlib.Path], Any]
    harmless: bool = False


def written(data: bytes | Callable[[], bytes]) -> Callable[[pathlib.Path], Any]:
    """A maker that writes these bytes."""
    return lambda path: path.write_bytes(data() if callable(data) else data)


def zeros(size: int, *, raw: bool = False) -> bytes:
    """``size`` zeros packed as zlib packs them, or as ``raw`` deflate, without packing them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = block * (size // 2**24) + last.compress(bytes(size % 2**24)) + last.flush()
    adler = (size % 65521 << 16 | 1).to_bytes(4, "big")
    return stream if raw else b"\x78\x9c" + stream + adler


class Call:
    """Pickled, it is a call of a function, which runs when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


_TOUCH = f"open({CANARY!r}, 'w').close()"

EXPLOITS: dict[str, Any] = {
    "os.system": Call(os.system, f"touch {CANARY}"),
    "builtins.exec": Call(exec, _TOUCH),
    "builtins.eval": Call(eval, _TOUCH),
    "builtins.open": Call(open, CANARY, "w"),
    "subprocess.Popen": Call(subprocess.Popen, ["touch", CANARY]),
    "getattr": Call(getattr, Call(__import__, "os"), "system"),
    "pickle.loads": Call(pickle.loads, pickle.dumps(Call(exec, _TOUCH))),
    "sys.exit": Call(sys.exit, 0),
}
"""Objects whose pickles do something when they are read."""

OPCODES: dict[str, bytes] = {
    "GLOBAL and REDUCE": f"cos\nsystem\n(S'touch {CANARY}'\ntR.".encode(),
    "INST": f"(S'touch {CANARY}'\nios\nsystem\n.".encode(),
    "OBJ": f"(cos\nsystem\nS'touch {CANARY}'\no.".encode(),
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch canary\x85R.",
    "BUILD of a function": b"ccollections\nOrderedDict\n}S'__call__'\ncos\nsystem\nsb.",
    "NEWOBJ": b"\x80\x02cbuiltins\nobject\n)\x81.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"Pos.system\n.",
    "memo of 4 GB": b"\x80\x02]r\xff\xff\xff\x7f.",
    "BINUNICODE8 of 2**62 bytes": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.",
    "BYTEARRAY8 of 2**40 bytes": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.",
    "LONG4 of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7fx.",
    "FRAME of 2**62 bytes": b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"N.",
    "LONG of many digits": b"L" + b"9" * 300_000 + b"L\n.",
    "tuples as a key, 40 deep": b"\x80\x02}" + b")" + b"q\x00h\x00\x86" * 40 + b"Ns.",
    "a list that holds itself": b"\x80\x02]q\x00h\x00a.",
    "a tuple that holds itself": b"\x80\x02]q\x00(h\x00tq\x01h\x01a0h\x01.",
    "lists of lists, 60 deep": b"\x80\x02]" + b"q\x00]h\x00ah\x00a" * 60 + b".",
    "marks, 200,000 deep": b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
    "an empty stack": b"\x80\x02....",
    "no end": b"\x80\x02]q\x00",
}
"""Pickles of bytes."""
