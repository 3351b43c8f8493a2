"""Hostile files of weights: PyTorch's pickles, safetensors, .npz, exported programs."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.hostile.cases import CANARY, EXPLOITS, OPCODES, Case, written
from benchmarks.hostile.data import npz_files

_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
_STREAM = _MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)


def _archive(pickled: bytes, packing: int = zipfile.ZIP_STORED, **storages: bytes) -> bytes:
    """A checkpoint as ``torch.save`` writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", b"little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key.removeprefix('s')}", data)
    return file.getvalue()


def _tensor(count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The pickle of {"weight": tensor} in opcodes, as ``torch.save`` writes it."""

    def number(n: int) -> bytes:
        data = n.to_bytes(max(1, (n.bit_length() + 8) // 8), "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data

    def row(numbers: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, numbers)) + b"t"

    text = b"X\x07\x00\x00\x00storage"
    storage = b"(" + text + b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += number(count) + b"tQ"
    parts = storage + number(offset) + row(shape) + row(strides)
    parts += b"\x89ccollections\nOrderedDict\n)R"
    name = b"X\x06\x00\x00\x00weight"
    return b"\x80\x02}" + name + b"ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"tRs."


def _torch_cases() -> Iterator[Case]:
    for name, exploit in EXPLOITS.items():
        pickled = pickle.dumps({"weight": exploit}, protocol=2)
        yield Case(f".pth, {name}", "weights", "hostile.pth", written(_archive(pickled)))
        yield Case(f"older .pth, {name}", "weights", "hostile.pth", written(_STREAM + pickled))
    for name, pickled in OPCODES.items():
        yield Case(f".pth, {name}", "weights", "hostile.pth", written(_archive(pickled)))
    for name in ("GLOBAL and REDUCE", "memo of 4 GB"):
        yield Case(f"bare .pth, {name}", "weights", "hostile.pth", written(OPCODES[name]))
    four = bytes(16)
    tensors: dict[str, Callable[[], bytes]] = {
        "a storage of 2**40 numbers": lambda: _archive(_tensor(2**40, 0, (1,), (1,)), s0=four),
        "a storage that is not there": lambda: _archive(_tensor(4, 0, (4,), (1,))),
        "a tensor beyond its storage": lambda: _archive(_tensor(4, 3, (4,), (1,)), s0=four),
        "steps of 0 to a terabyte": lambda: _archive(_tensor(4, 0, (2**38,), (0,)), s0=four),
        "negative steps": lambda: _archive(_tensor(4, 3, (4,), (-1,)), s0=four),
        "a negative offset": lambda: _archive(_tensor(4, -1000, (4,), (1,)), s0=four),
        "70 axes": lambda: _archive(_tensor(4, 0, (1,) * 70, (1,) * 70), s0=four),
        "packed, 500 MB of zeros": lambda: _archive(
            _tensor(125_000_000, 0, (1,), (1,)), zipfile.ZIP_DEFLATED, s0=bytes(500_000_000)
        ),
        "older, a storage of 2**40 numbers": lambda: (
            _STREAM
            + _tensor(2**40, 0, (1,), (1,))
            + pickle.dumps(["0"], 2)
            + struct.pack("<q", 2**40)
        ),
        "older, big-endian": lambda: (
            _MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": False}, 2)
        ),
        "cut to half": lambda: _archive(_tensor(4, 0, (4,), (1,)), s0=four)[:200],
        "no pickle in it": lambda: _archive(b"")[:0] + b"PK\5\6" + bytes(18),
        "a web page": lambda: b"<!DOCTYPE html><html>404</html>",
        "nothing": lambda: b"",
    }
    for name, make in tensors.items():
        yield Case(f".pth, {name}", "weights", "hostile.pth", written(make))
    yield Case(".pth.tar, os.system", "weights", "hostile.pth.tar", written(OPCODES["INST"]))


def _safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _safetensors_cases() -> Iterator[Case]:
    files: dict[str, Callable[[], bytes]] = {
        "a header of 2**63 bytes": lambda: _safetensors(b"{}", length=2**63),
        "a header of 200 MB": lambda: _safetensors(b"{" + b" " * 200_000_000 + b"}"),
        "20,000 tensors": lambda: _safetensors({str(i): _entry([0], 0, 0) for i in range(20_000)}),
        "brackets, 100,000 deep": lambda: _safetensors(b'{"w":' + b"[" * 100_000),
        "offsets beyond the file": lambda: _safetensors({"w": _entry([1000], 0, 4000)}, bytes(8)),
        "offsets of 2**62": lambda: _safetensors({"w": _entry([2**60], 0, 2**62)}, bytes(8)),
        "a size that overflows": lambda: _safetensors(
            {"w": _entry([2**33, 2**33], 0, 4)}, bytes(4)
        ),
        "tensors that overlap": lambda: _safetensors(
            {"v": _entry([2], 0, 8), "w": _entry([2], 4, 12)}, bytes(12)
        ),
        "a negative size": lambda: _safetensors({"w": _entry([-1], 0, 4)}, bytes(4)),
        "an unknown dtype": lambda: _safetensors({"w": _entry([1], 0, 8, "O")}, bytes(8)),
        "bytes that no tensor has": lambda: _safetensors({"w": _entry([1], 0, 4)}, bytes(4000)),
        "no JSON": lambda: _safetensors(b"\xff" * 100),
        "a list as the header": lambda: _safetensors([1, 2]),
        "metadata that is no text": lambda: _safetensors({"__metadata__": {"a": [1]}}),
        "cut to half": lambda: _safetensors({"w": _entry([1000], 0, 4000)}, bytes(4000))[:900],
        "a pickle": lambda: OPCODES["GLOBAL and REDUCE"],
        "nothing": lambda: b"",
    }
    for name, make in files.items():
        yield Case(f"safetensors, {name}", "weights", "hostile.safetensors", written(make))


def cases() -> Iterator[Case]:
    """Files of weights, read by ``models.weights.read`` and ``load_exported``."""
    yield from _torch_cases()
    yield from _safetensors_cases()
    for name, make in npz_files().items():
        yield Case(f"weights .npz, {name}", "weights", "hostile.npz", written(make))
    programs: dict[str, bytes] = {
        "nothing": b"",
        "a pickle": OPCODES["GLOBAL and REDUCE"],
        "offsets beyond the file": b"\xff\xff\xff\x7f" * 64,
        "zeros": bytes(1000),
        "text": f"touch {CANARY}".encode() * 50,
    }
    for name, data in programs.items():
        yield Case(f"exported program, {name}", "program", "hostile.stablehlo", written(data))
