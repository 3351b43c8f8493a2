"""Weights of every kind of file, by extension."""

import io
import re
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from cnnlab import limits
from cnnlab.models import weights

ARRAYS = {
    "b.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.bias": np.array([1.5, -2], ml_dtypes.bfloat16),
    "steps": np.array(3, np.int64),
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".bin"])
def test_pytorch_files_have_several_extensions(suffix, tmp_path, torch_format):
    arrays = {"w": ARRAYS["b.weight"]}
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(torch_format.checkpoint(arrays, "zip"))
    np.testing.assert_array_equal(weights.read(path)["w"], arrays["w"])


def test_safetensors_are_read_with_bfloat16(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.numpy.save(ARRAYS))
    result = weights.read(str(path))
    assert sorted(result) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert result[name].dtype == array.dtype
        np.testing.assert_array_equal(result[name], array)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="weights.safetensors is truncated"):
        weights.read(path)


def test_npz_is_read_without_objects(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **{"conv1/w": ARRAYS["b.weight"]})
    np.testing.assert_array_equal(weights.read(path)["conv1/w"], ARRAYS["b.weight"])
    np.savez(path, w=np.array([{}], object))
    with pytest.raises(ValueError, match="array of Python objects"):
        weights.read(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="weights.npz is not an .npz file"):
        weights.read(path)


@pytest.fixture
def npz(tmp_path):
    """Writes an archive of members by name and gives its path."""

    def write(members, compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(tmp_path / "weights.npz", "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return tmp_path / "weights.npz"

    return write


def npy(array, **changed):
    """The bytes of a .npy file; ``changed``: its header."""
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array) | changed
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


ROW = np.arange(6, dtype=np.float32)
REFUSED = {
    "huge": (npy(ROW, shape=(10**12,)), "has 4000000000000 bytes, but there are 24"),
    "long": (npy(ROW) + b"x", "has 24 bytes, but there are 25"),
    "negative": (npy(ROW, shape=(-2, -3)), "not an .npz file"),
    "text": (npy(np.array(["cat", "dog"], "<U4")), "array of <U4"),
    "bytes": (npy(np.array([b"cat"])), "array of |S3"),
    "fields": (npy(np.zeros(2, [("a", "f4"), ("b", "i4")])), "not of numbers"),
    "complex": (npy(np.zeros(2, np.complex64)), "array of complex64"),
    "void": (npy(ARRAYS["a.bias"].view("V2")), "not of numbers"),
    "dates": (npy(np.zeros(2, "M8[s]")), "not of numbers"),
    "wide": (npy(ROW.astype(np.longdouble)), "not of numbers of up to 64 bits"),
    "header": (npy(ROW).replace(b"{", b"("), "not an .npz file"),
    "dtype": (npy(ROW, descr="<q9"), "not an .npz file"),
    "version": (npy(ROW).replace(b"NUMPY\x01", b"NUMPY\x03"), "is of version"),
    "empty": (b"", "not an .npz file"),
    "lines": (b"\x93NUMPY\1\0\xff\xf0" + b"(" * 0xF0FF, "Header info length"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_npz_holds_numbers_and_as_many_as_it_says(name, npz):
    content, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        weights.read(npz([("good.npy", npy(ROW)), ("w.npy", content)]))
    assert "weights.npz" in str(caught.value)
    assert "\n" not in str(caught.value)  # though NumPy says some of it in several


def test_a_member_that_is_shorter_than_the_archive_says_is_refused(npz):
    """Or the numbers would be whatever was in the memory."""
    path = npz([("w.npy", npy(ROW, shape=(10**6,)))])
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\1\2") + 24  # its size, in the directory at the end
    data[at : at + 4] = (len(npy(ROW)) - ROW.nbytes + 4 * 10**6).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"weights\.npz is not .*w\.npy ends before the size"):
        weights.read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [["w.npy", "notes.txt"], ["w"], ["w.npy", "w.npy"]])
def test_an_npz_holds_each_array_once_and_nothing_else(names, npz):
    with pytest.raises(ValueError, match=r"weights.npz is not .* must hold NAME.npy, each once"):
        weights.read(npz([(name, npy(ROW)) for name in names]))


def test_an_npz_is_no_bomb(npz, monkeypatch):
    path = npz([("w.npy", npy(np.zeros(10**6, np.uint8)))], zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(limits, "unpacked_bytes", 10**6)
    with pytest.raises(
        ValueError, match=r"weights\.npz would unpack to 1000128 bytes; 1000000 are"
    ):
        weights.read(path)
    monkeypatch.undo()
    assert len(weights.read(path)["w"]) == 10**6
    path = npz([("w.npy", npy(ROW))], zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match="packed by method 14"):
        weights.read(path)


def test_an_npz_of_any_order_is_read(tmp_path):
    arrays = {
        "columns": np.asfortranarray(ARRAYS["b.weight"]),
        "big": np.arange(4, dtype=">f8"),
        "flags": np.array([[True], [False]]),
        "none": np.zeros((0, 3), np.int16),
        "one": np.array(7, np.uint8),
    }
    np.savez_compressed(tmp_path / "w.npz", **arrays)
    result = weights.read(tmp_path / "w.npz")
    assert list(result) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(result[name], array)
        assert result[name].dtype == array.dtype.newbyteorder("=")


def empty_tensors(count, tmp_path, torch_format, kind):
    """A file of weights with many tensors and no numbers."""
    path = tmp_path / f"many.{kind}"
    arrays = {f"tensor{i}": np.zeros(0, np.float32) for i in range(count)}
    if kind == "safetensors":
        path.write_bytes(safetensors.numpy.save(arrays))
    elif kind == "npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(torch_format.checkpoint(arrays, "zip"))
    return path


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pth"])
def test_the_number_of_arrays_is_limited(kind, tmp_path, torch_format, monkeypatch):
    path = empty_tensors(50, tmp_path, torch_format, kind)
    assert len(weights.read(path)) == 50
    monkeypatch.setattr(limits, "arrays", 49)
    with pytest.raises(ValueError, match=r"many\.\w+.* at most 49 .*raise cnnlab\.limits\.arrays"):
        weights.read(path)


def test_a_long_header_of_safetensors_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "long.safetensors"
    path.write_bytes(safetensors.numpy.save({"w" * 2000: np.zeros(2, np.float32)}))
    assert len(weights.read(path)) == 1
    monkeypatch.setattr(limits, "arrays", 1)
    with pytest.raises(ValueError, match=r"long\.safetensors must describe its tensors in at most"):
        weights.read(path)


@pytest.mark.filterwarnings("ignore")  # NumPy's, about odd headers
def test_no_damage_to_an_npz_goes_further_than_an_error(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, a=ARRAYS["b.weight"], b=ROW)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            weights.read(path)
        except ValueError as error:
            assert "weights.npz" in str(error)


def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown kind of weights '.pkl'.*\.safetensors, \.npz"):
        weights.read(tmp_path / "weights.pkl")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.npz"])
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        weights.read(tmp_path / name)


def test_imagenets_classes_are_where_they_should_be():
    names = weights.imagenet_classes()
    assert len(names) == 1000
    assert [names[i] for i in (0, 309, 310, 985, 999)] == [
        "tench",
        "bee",
        "ant",
        "daisy",
        "toilet tissue",
    ]
