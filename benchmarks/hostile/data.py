"""Hostile files of data sets: IDX, CIFAR's pickles and archives, .npz."""

import functools
import gzip
import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.hostile.cases import CANARY, EXPLOITS, OPCODES, Call, Case, written, zeros

MNIST_FILE = "train-images-idx3-ubyte"
CIFAR_FILE = "data_batch_1"
CIFAR_ARCHIVE = "cifar-10-python.tar.gz"


def _zeros_gz(head: bytes, gigabytes: int) -> bytes:
    """A gzip file of ``head`` and zeros: members of 64 MB each, packed a thousand to one."""
    return gzip.compress(head) + gzip.compress(bytes(2**26), 9) * (16 * gigabytes)


def idx(*shape: int, kind: int = 8) -> bytes:
    """The header of an IDX file."""
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)


def _idx_cases() -> Iterator[Case]:
    plain = {
        "header of 2**96 bytes": lambda: idx(2**32 - 1, 2**32 - 1, 2**32 - 1),
        "header of 10 GB": lambda: idx(12_755_102, 28, 28),
        "header of 2**32 - 1 empty images": lambda: idx(2**32 - 1, 0, 28),
        "255 axes": lambda: idx(*[2] * 255),
        "another type": lambda: idx(1, 28, 28, kind=14) + bytes(784 * 8),
        "cut in the header": lambda: idx(60000, 28, 28)[:9],
        "nothing": lambda: b"",
        "a pickle": lambda: OPCODES["GLOBAL and REDUCE"],
        "images of 27 x 29": lambda: idx(1, 27, 29) + bytes(27 * 29),
    }
    for name, make in plain.items():
        yield Case(f"IDX, {name}", "mnist", MNIST_FILE, written(make))
    packed = {
        "bomb of 4 GB, header of 47 MB": lambda: _zeros_gz(idx(60000, 28, 28), 4),
        "bomb of 4 GB, header of 4 GB": lambda: _zeros_gz(idx(5_478_274, 28, 28), 4),
        "bomb of 4 GB that is no IDX": lambda: _zeros_gz(b"\1", 4),
        "cut to half": lambda: _zeros_gz(idx(60000, 28, 28), 1)[:30000],
        "a wrong checksum": lambda: gzip.compress(idx(1, 28, 28) + bytes(784))[:-8] + bytes(8),
        "a name of 50 MB": lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 50_000_000,
        "only a header": lambda: b"\x1f\x8b\x08\x00",
        "a file in a file": lambda: gzip.compress(gzip.compress(idx(1, 28, 28))),
        "500,000 empty members": lambda: gzip.compress(b"") * 500_000,
    }  # fmt: skip
    for name, make in packed.items():
        yield Case(f"IDX.gz, {name}", "mnist", f"{MNIST_FILE}.gz", written(make))


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _info(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def _sparse(size: int) -> bytes:
    """A tar member of GNU's sparse kind that is all holes."""
    info = _info(f"cifar-10-batches-py/{CIFAR_FILE}", type=tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398], header[398:410] = b"%011o\0" % 0, b"%011o\0" % 0  # an empty run of data at 0
    header[483:495] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return gzip.compress(bytes(header) + bytes(1024))


def _huge_member() -> bytes:
    header = bytearray(_info(f"x/{CIFAR_FILE}").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\x80" + (2**60).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return gzip.compress(bytes(header))


def _cifar_cases() -> Iterator[Case]:
    for name, exploit in EXPLOITS.items():
        data = {b"data": exploit, b"labels": []}
        yield Case(
            f"CIFAR, {name}",
            "cifar10",
            CIFAR_FILE,
            written(functools.partial(pickle.dumps, data, 2)),
        )
    for name, pickled in OPCODES.items():
        yield Case(f"CIFAR, {name}", "cifar10", CIFAR_FILE, written(pickled))
    archives: dict[str, Callable[[], bytes]] = {
        "gzip bomb of 4 GB": lambda: _zeros_gz(bytes(512), 4),
        "sparse member of 6 GB": lambda: _sparse(6 * 2**30),
        "member of 2**60 bytes": _huge_member,
        "os.system in a batch": lambda: _tar(
            (_info(f"cifar-10-batches-py/{CIFAR_FILE}"), OPCODES["GLOBAL and REDUCE"])
        ),
        "a member outside of the folder": lambda: _tar((_info(f"../../{CANARY}"), b"x")),
        "a link out of the folder": lambda: _tar(
            (_info(CIFAR_FILE, type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")
        ),
        "a device": lambda: _tar((_info(CIFAR_FILE, type=tarfile.CHRTYPE, devmajor=1), b"")),
        "cut to half": lambda: _tar((_info(f"x/{CIFAR_FILE}"), bytes(10**6)))[:500],
        "a pickle, no archive": lambda: OPCODES["GLOBAL and REDUCE"],
        "nothing": lambda: b"",
    }
    for name, make in archives.items():
        yield Case(f"CIFAR archive, {name}", "cifar10", CIFAR_ARCHIVE, written(make))


def npy(header: str | bytes, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """A .npy file with any header."""
    text = header.encode() if isinstance(header, str) else header
    text = text.ljust(-(-(len(text) + 11) // 64) * 64 - 11) + b"\n"
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


def of(shape: str, dtype: str = "|u1") -> str:
    """The header of a .npy file."""
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"


def _zip(members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _zip_of_zeros(size: int) -> bytes:
    """An archive with one array of ``size`` zeros, < 4 GB, packed a thousand to one."""
    head = npy(of(f"({size},)"))
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packed.compress(head) + packed.flush(zlib.Z_FULL_FLUSH) + zeros(size, raw=True)
    name, sizes = b"images.npy", (0, len(data), size + len(head))
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, *sizes, len(name), 0)
    local = b"PK\3\4" + fields + name + data
    entry = b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return (
        local + entry + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)
    )


def _lying(size: int) -> bytes:
    """An archive whose directory says that a member is larger than it is."""
    data = bytearray(_zip({"images.npy": npy(of(f"({size},)"), bytes(100))}))
    at = data.rindex(b"PK\1\2") + 24
    data[at : at + 4] = struct.pack("<I", size + 128)
    return bytes(data)


def npz_files() -> dict[str, Callable[[], bytes]]:
    """Archives by what is hostile in them, for both readers of .npz."""
    exploit = npy(of("(1,)", "|O"), pickle.dumps([Call(exec, f"open({CANARY!r}, 'w')")]))
    return {
        "an object": lambda: _zip({"images.npy": exploit}),
        "code in a header": lambda: _zip(
            {"images.npy": npy(f"__import__('os').system('touch {CANARY}')")}
        ),
        "a header of 2**60 numbers": lambda: _zip({"images.npy": npy(of(f"({2**60},)"))}),
        "a header of negative sizes": lambda: _zip({"images.npy": npy(of("(-1, -1)"), b"x")}),
        "a size that overflows": lambda: _zip({"images.npy": npy(of(f"({2**40}, {2**40}, 0)"))}),
        "a header of 60,000 brackets": lambda: _zip({"images.npy": npy(b"(" * 60_000)}),
        "a header of 100 MB": lambda: _zip({"images.npy": npy(b" " * 10**8, version=b"\2\0")}),
        "text of 4 GB a word": lambda: _zip({"images.npy": npy(of("(1,)", "<U1073741823"))}),
        "a number of 100,000 digits": lambda: _zip({"images.npy": npy(of(f"({'9' * 60_000},)"))}),
        "a header that lacks a quote": lambda: _zip({"images.npy": npy("{'descr': '|u1, ")}),
        "20,000 arrays": lambda: _zip({f"{i}.npy": npy(of("(0,)")) for i in range(20_000)}),
        "packed by bzip2": lambda: _zip({"images.npy": npy(of("(1,)"), b"x")}, zipfile.ZIP_BZIP2),
        "packed by lzma": lambda: _zip({"images.npy": npy(of("(1,)"), b"x")}, zipfile.ZIP_LZMA),
        "a size that is no truth": lambda: _lying(500_000_000),
        "cut to half": lambda: _zip({"images.npy": npy(of("(999,)"), bytes(999))})[:150],
        "a member with a path": lambda: _zip({f"../../{CANARY}": b"x"}),
        "a .npy": lambda: npy(of("(1,)"), b"x"),
        "bomb of 4 GB": lambda: _zip_of_zeros(4 * 10**9),
        "a pickle": lambda: OPCODES["GLOBAL and REDUCE"],
        "nothing": lambda: b"",
    }


def cases() -> Iterator[Case]:
    """Files of data sets, read by ``data.load``, and ``data.npz`` of a run directory."""
    yield from _idx_cases()
    yield from _cifar_cases()
    for name, make in npz_files().items():
        yield Case(f".npz, {name}", "npz", "hostile.npz", written(make))
        yield Case(f"data.npz of a run, {name}", "record", "data.npz", written(make))
