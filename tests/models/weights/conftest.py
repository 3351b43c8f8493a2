"""Writes PyTorch's two formats, opcode by opcode, so that tests can also write wrong ones."""

import io
import pickle
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def numbers(values):
    return b"(" + b"".join(number(v) for v in values) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def dictionary(items):
    inside = b"".join(text(key) + value for key, value in items.items())
    return named("collections", "OrderedDict") + b")R(" + inside + b"u"


def tensor(key, array, stream, **changed):
    """The opcodes of one tensor; ``changed``: another ``kind``, ``name``, ``count``, ``shape`` …"""
    strides = [s // array.itemsize for s in array.strides]
    kind = changed.get("kind", named("torch", KINDS[array.dtype.name]))
    storage = b"(" + text("storage") + kind + text(changed.get("name", key)) + text("cpu")
    storage += number(changed.get("count", array.size)) + (b"N" if stream else b"") + b"tQ"
    view = number(changed.get("offset", 0)) + numbers(changed.get("shape", array.shape))
    view += numbers(changed.get("strides", strides)) + b"\x89" + dictionary({})
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + view + b"tR"


def archive(data, members, compression=zipfile.ZIP_STORED):
    """A zip of ``data.pkl`` with these opcodes and further members by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr("archive/data.pkl", data)
        for name, content in members.items():
            made.writestr(f"archive/{name}", content)
    return file.getvalue()


def stream(data, storages, **changed):
    """A stream of pickles; ``changed``: another ``magic``, ``protocol``, ``system``, ``keys``."""
    system = {"protocol_version": 1001, "little_endian": True}
    usual = {"magic": MAGIC, "protocol": 1001, "system": system, "keys": list(storages)}
    part = {name: changed.get(name, pickle.dumps(value, 2)) for name, value in usual.items()}
    body = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in storages.values())
    return part["magic"] + part["protocol"] + part["system"] + data + part["keys"] + body


def checkpoint(arrays, form, extra=b"", wrapper=None, **changed):
    """The bytes of a file of ``arrays``, "zip" or "stream"; ``extra``: opcodes of more items."""
    storages = {str(i): np.ascontiguousarray(a) for i, a in enumerate(arrays.values())}
    opcodes = {
        name: tensor(key, array, form == "stream", **changed)
        for name, (key, array) in zip(arrays, storages.items(), strict=True)
    }
    data = dictionary(opcodes) + (b"(" + extra + b"u" if extra else b"")
    if wrapper:
        data = b"}(" + text(wrapper) + data + text("epoch") + number(3) + b"u"
    data = b"\x80\x02" + data + b"."
    if form == "stream":
        return stream(data, storages)
    members = {f"data/{key}": array.tobytes() for key, array in storages.items()}
    return archive(data, {"byteorder": b"little", **members})


@pytest.fixture(scope="session")
def torch_format():
    """The helpers above, by name."""
    return SimpleNamespace(
        text=text,
        number=number,
        named=named,
        tensor=tensor,
        dictionary=dictionary,
        archive=archive,
        stream=stream,
        checkpoint=checkpoint,
    )
