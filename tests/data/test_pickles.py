"""The restricted unpickler: it reads the arrays of CIFAR and runs nothing."""

import io
import pickle
import struct

import numpy as np
import pytest

from cnnlab.data import pickles

ROWS = np.arange(12, dtype=np.uint8).reshape(3, 4) + 200


def python2_array(array, fortran=False):
    """The opcodes that Python 2 and its NumPy wrote for a uint8 matrix, protocol 2."""
    data = array.tobytes(order="F" if fortran else "C")
    number = lambda n: b"J" + struct.pack("<i", n)  # noqa: E731
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01" + number(array.shape[0]) + number(array.shape[1]) + b"\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
        + number(-1) + number(-1) + b"K\x00tb"
        + (b"\x88" if fortran else b"\x89")
        + b"T" + struct.pack("<i", len(data)) + data + b"tb"
    )  # fmt: skip


def python2(array, fortran=False):
    return b"\x80\x02}(U\x04data" + python2_array(array, fortran) + b"U\x06labels](K\x01K\x00eu."


def test_numpy_reads_the_hand_made_file():
    batch = pickle.load(io.BytesIO(python2(ROWS)), encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], ROWS)


@pytest.mark.parametrize("fortran", [False, True])
def test_a_file_of_python_2_is_read(fortran):
    batch = pickles.load(python2(ROWS, fortran), "f")
    np.testing.assert_array_equal(batch[b"data"], ROWS)
    assert batch[b"data"].dtype == np.uint8
    assert batch[b"labels"] == [1, 0]


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("keys", [(b"data", b"labels"), ("data", "labels")])
def test_a_file_of_python_3_is_read(protocol, keys):
    data = pickle.dumps({keys[0]: ROWS, keys[1]: [1, 0]}, protocol)
    batch = pickles.load(data, "f")
    np.testing.assert_array_equal(batch[keys[0]], ROWS)
    assert batch[keys[1]] == [1, 0]


def test_the_older_name_of_numpy_is_read_too():
    data = pickle.dumps({b"data": ROWS}, 2).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in data
    np.testing.assert_array_equal(pickles.load(data, "f")[b"data"], ROWS)


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def malicious(target):
    """Every way that the opcodes have to call something, each writing to the file ``target``."""
    command = b"S'touch " + str(target).encode() + b"'\n"
    yield "posix.system", b"cposix\nsystem\n(" + command + b"tR."
    yield "os.system", b"(" + command + b"ios\nsystem\n."
    yield "os.system", b"(cos\nsystem\n" + command + b"o."
    yield "os.system", b"\x80\x04" + text("os") + text("system") + b"\x93" + text("x") + b"\x85R."
    yield "subprocess.Popen", b"\x80\x02csubprocess\nPopen\n" + text("x") + b"\x85\x81."
    yield "__builtin__.eval", b"c__builtin__\neval\n" + text("1") + b"\x85R."
    yield "builtins.getattr", b"cbuiltins\ngetattr\n" + text("x") + text("y") + b"\x86R."
    yield "numpy.load", b"\x80\x04" + text("numpy") + text("load") + b"\x93" + text("x") + b"\x85R."
    dotted = text("numpy") + text("core.multiarray._reconstruct.__globals__")
    yield "numpy.core.multiarray._reconstruct.__globals__", b"\x80\x04" + dotted + b"\x93."
    yield "numpy.core.multiarray.scalar", b"cnumpy.core.multiarray\nscalar\n."


@pytest.mark.parametrize("number", range(10))
def test_every_other_name_is_refused_and_nothing_runs(tmp_path, number):
    target = tmp_path / "ran"
    name, data = list(malicious(target))[number]
    with pytest.raises(ValueError) as caught:
        pickles.load(data, "data_batch_1")
    assert "data_batch_1" in str(caught.value)
    assert name in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_real_exploit_in_a_batch_is_refused(tmp_path, protocol):
    target = tmp_path / "ran"
    batch = {b"data": ROWS, b"labels": Calls(exec, f"open({str(target)!r}, 'w')")}
    data = pickle.dumps(batch, protocol)
    with pytest.raises(ValueError, match="f: the pickle asks for"):
        pickles.load(data, "f")
    assert not target.exists()
    pickle.loads(data)  # the exploit is real: the ordinary unpickler runs it
    assert target.exists()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"c_codecs\nencode\n" + text("x") + text("rot13") + b"\x86R.", "only latin1"),
        (b"c_codecs\nencode\n" + text("x") + b"\x85R.", "only latin1"),
        (b"cnumpy\ndtype\n" + text("O8") + b"\x85R.", "must be of bytes"),
        (b"c_codecs\nencode\n}" + text("x") + b"K\x01sb.", "sets the state"),
        (RECONSTRUCT + b"N}" + text("_function") + b"Ns\x86b.", "sets the state"),
        (RECONSTRUCT + b")\x81.", "f is truncated, damaged"),
        (b"\x80\x02}" + text("data") + RECONSTRUCT + b")Rs.", "without contents"),
        (b"Pmodule\n.", "persistent"),
    ],
)
def test_the_permitted_names_do_only_what_arrays_need(data, message):
    with pytest.raises(ValueError, match=message):
        pickles.load(data, "f")
    np.testing.assert_array_equal(pickles.load(python2(ROWS), "f")[b"data"], ROWS)


def test_an_array_that_does_not_fit_its_bytes_is_refused():
    data = python2(ROWS).replace(b"J" + struct.pack("<i", 3), b"J" + struct.pack("<i", 10**9))
    with pytest.raises(ValueError, match="cannot hold 12 bytes"):
        pickles.load(data, "f")


@pytest.mark.parametrize("length", [0, 1, 2, 40, 100, -1])
def test_a_truncated_pickle_is_named(length):
    with pytest.raises(ValueError, match="data_batch_3 is truncated"):
        pickles.load(python2(ROWS)[:length], "data_batch_3")


def test_no_damage_goes_further_than_an_error():
    whole = python2(ROWS)
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        try:
            pickles.load(bytes(damaged), "f")
        except ValueError as error:
            assert str(error).startswith("f")


def test_a_pickle_is_not_more_work_than_it_has_bytes():
    # A dictionary of twice the same dictionary, and so on, 60 levels deep.
    laughs = b"}" + b"".join(b"q%c}(U\x01ah%cU\x01bh%cu" % (i, i, i) for i in range(60)) + b"."
    assert set(pickles.load(laughs, "f")) == {b"a", b"b"}
    # A tuple of twice the same tuple as a key: its hash would take years.
    key = b"}(" + b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60)) + b"K\x00u."
    with pytest.raises(ValueError, match="f: a key of a dictionary must be text or a number"):
        pickles.load(key, "f")


def test_a_pickle_asks_for_no_more_memory_than_it_has_bytes():
    memo = b"}r" + struct.pack("<I", 2**31) + b"."
    with pytest.raises(ValueError, match="f: the pickle has a memo index of 2147483648"):
        pickles.load(memo, "f")
    once = b"c_codecs\nencode\nq\x00X" + struct.pack("<I", 1000) + b"x" * 1000 + b"q\x01"
    again = b"(" + b"h\x00h\x01U\x06latin1\x86R" * 500 + b"l."
    with pytest.raises(ValueError, match="f: the pickle encodes the same text many times"):
        pickles.load(once + again, "f")
