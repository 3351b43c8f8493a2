"""PyTorch's files are read without PyTorch, and none of them runs anything."""

import base64
import pickle
import zipfile

import numpy as np
import pytest

from cnnlab.models.weights import files, torch_files

FORMS = ("zip", "stream")
ARRAYS = {
    "conv.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "conv.bias": np.float16([1, 2]),
    "steps": np.array(2**40),
}


@pytest.fixture
def read(tmp_path):
    def read(data):
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        return torch_files.read(path)

    return read


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_pytorch_itself_is_read(form, read, reference):
    module, numbers = reference("weights_torch")
    contents = read(base64.b64decode(numbers[form]))
    expected = module.tensors()
    assert list(contents.tensors) == list(expected)
    for name, array in expected.items():
        tensor = contents.tensors[name]
        assert tensor.dtype == ("bfloat16" if name == "bfloat16" else array.dtype)
        np.testing.assert_array_equal(tensor.astype(array.dtype), array, err_msg=name)
        assert not (tensor.size and tensor.flags.writeable)
    assert contents.dropped == dict.fromkeys(
        ("epoch", "device"), "beside 'state_dict', which was read"
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "anything"])
def test_the_tensors_are_found_also_beside_other_things(form, wrapper, read, torch_format):
    contents = read(torch_format.checkpoint(ARRAYS, form, wrapper=wrapper))
    prefix = "anything." if wrapper == "anything" else ""
    assert set(contents.tensors) == {prefix + name for name in ARRAYS}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(contents.tensors[prefix + name], array)
        assert contents.tensors[prefix + name].dtype == array.dtype
    assert list(contents.dropped) == (["epoch"] if wrapper else [])


def malicious(target, f):
    """Ways to have something called while unpickling, with what the refusal must name."""
    command = b"S'touch " + str(target).encode() + b"'\n"
    line = f.text(f"open({str(target)!r}, 'w')")
    rebuild = f.named("torch._utils", "_rebuild_tensor_v2")
    yield "global", "posix.system", b"cposix\nsystem\n(" + command + b"tR"
    yield (
        "stack_global",
        "os.system",
        f.text("os") + f.text("system") + b"\x93" + command + b"\x85R",
    )
    yield "inst", "os.system", b"(" + command + b"ios\nsystem\n"
    yield "obj", "os.system", b"(cos\nsystem\n" + command + b"o"
    yield "newobj", "subprocess.Popen", b"csubprocess\nPopen\n" + command + b"\x85\x81"
    yield "eval", "builtins.eval", b"cbuiltins\neval\n" + line + b"\x85R"
    yield "getattr", "builtins.getattr", b"cbuiltins\ngetattr\n" + rebuild + f.text("x") + b"\x86R"
    dotted = f.text("torch._utils") + f.text("_rebuild_tensor_v2.__globals__") + b"\x93"
    yield "dotted", "torch._utils._rebuild_tensor_v2.__globals__", dotted
    bytes_ = b"ctorch.storage\n_load_from_bytes\n" + command + b"\x85R"
    yield "load_from_bytes", "torch.storage._load_from_bytes", bytes_
    # A function's, a class's or a storage's state would change what later opcodes call.
    yield "build", "sets the state of a function", rebuild + b"}" + f.text("_function") + b"Nsb"
    slots = b"N}" + f.text("_function") + command + b"s\x86b"
    yield "build_slots", "sets the state of a function", rebuild + slots
    parameter = f.named("torch.nn.parameter", "Parameter")
    attribute = b"N}" + f.text("__new__") + command + b"s\x86b"
    yield "build_class", "sets an attribute of a class", parameter + attribute
    kind = f.named("torch", "FloatStorage")
    yield "build_kind", "sets the state of a class", kind + b"}" + f.text("dtype") + b"Nsb"
    # What a storage "is" comes from the pickle too.
    crafted = f.tensor("9", np.ones(1, np.float32), False, kind=b"cposix\nsystem\n")
    yield "persistent", "posix.system", crafted
    crafted = f.tensor("9", np.ones(1, np.float32), False, kind=rebuild)
    yield "persistent_function", "no storage", crafted
    yield "persistent_text", "no storage", b"Pmodule\n"
    yield "extension", "extension registry", b"\x82\x01"
    yield "memo", "memo index", b"Nr\xff\xff\xff\x7f"


MALICIOUS = (
    "global",
    "stack_global",
    "inst",
    "obj",
    "newobj",
    "eval",
    "getattr",
    "dotted",
    "load_from_bytes",
    "build",
    "build_slots",
    "build_class",
    "build_kind",
    "persistent",
    "persistent_function",
    "persistent_text",
    "extension",
    "memo",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_pickle_is_refused_and_nothing_runs(name, form, tmp_path, read, torch_format):
    target = tmp_path / "ran"
    [(message, opcodes)] = [m[1:] for m in malicious(target, torch_format) if m[0] == name]
    data = torch_format.checkpoint(ARRAYS, form, extra=torch_format.text("x") + opcodes)
    with pytest.raises(ValueError) as caught:
        read(data)
    assert "weights.pth" in str(caught.value)
    assert message in str(caught.value)
    assert not target.exists()
    read(torch_format.checkpoint(ARRAYS, form))  # and nothing was altered for the next file


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("part", ["magic", "protocol", "system", "keys", "data"])
def test_no_part_of_the_old_format_runs_anything(part, tmp_path, read, torch_format):
    target = tmp_path / "ran"
    exploit = pickle.dumps(Calls(exec, f"open({str(target)!r}, 'w')"), 2)
    whole = b"\x80\x02" + torch_format.dictionary({}) + b"."
    changed = {} if part == "data" else {part: exploit}
    data = torch_format.stream(exploit if part == "data" else whole, {}, **changed)
    with pytest.raises(ValueError, match="asks for (builtins|__builtin__).exec"):
        read(data)
    assert not target.exists()
    pickle.loads(exploit)  # the exploit is real: the ordinary unpickler runs it
    assert target.exists()


def nested(depth):
    """A tuple of twice a tuple of twice a tuple: 2 ** depth hashes, in 8 bytes a level."""
    levels = [b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(depth)]
    return b")q\x000" + b"".join(levels) + b"h%c" % depth


def dear(f):
    """Few bytes that would be hours or gigabytes of work, with what the refusal must name."""
    pairs = f.named("collections", "OrderedDict")
    deep = nested(40)
    yield "setitem", "key of a dictionary", b"}" + deep + b"Ns"
    yield "setitems", "key of a dictionary", b"}(" + deep + b"Nu"
    yield "dict", "key of a dictionary", b"(" + deep + b"Nd"
    yield "subclass", "key of a dictionary", pairs + b")R" + deep + b"Ns"
    yield "pairs", "key of a dictionary", pairs + b"](" + deep + b"N\x86e\x85R"
    yield "set", "sets", b"\x8f(" + deep + b"\x90"
    yield "frozenset", "sets", b"(" + deep + b"\x91"
    # One long object, named again and again: quadratic where it is copied each time.
    many = b"(" + 100 * b"N" + b"tq\x00"
    yield "arguments", "at most 16 arguments", f.named("torch", "device") + many + b"R"
    yield "size", "at most 64 axes", f.named("torch", "Size") + many + b"\x85R"
    number = b"}" + b"\x8a\x09" + 9 * b"\x7f" + b"Ns"
    yield "long", "key of a dictionary", number
    shaped = f.tensor("0", np.ones(1, np.float32), False, shape=65 * (1,), strides=65 * (1,))
    yield "axes", "as many strides as axes", shaped
    yield "name", "at most 1000 letters", b"}" + f.text(1001 * "n") + b"Ns"
    yield (
        "names",
        "at most 1000 letters",
        b"}" + f.text(600 * "n") + b"}" + f.text(600 * "n") + (b"Nss"),
    )


DEAR = ("setitem", "setitems", "dict", "subclass", "pairs", "set", "frozenset", "arguments",
        "size", "long", "axes", "name", "names")  # fmt: skip


@pytest.mark.parametrize("name", DEAR)
def test_the_work_grows_with_the_bytes(name, read, torch_format):
    [(message, opcodes)] = [d[1:] for d in dear(torch_format) if d[0] == name]
    extra = torch_format.text("x") + opcodes
    data = torch_format.checkpoint({"w": np.ones(1, np.float32)}, "zip", extra=extra)
    with pytest.raises(ValueError, match=message):
        read(data)


def test_deep_tuples_that_are_no_keys_are_only_dropped(read, torch_format):
    data = torch_format.checkpoint(ARRAYS, "zip", extra=torch_format.text("x") + nested(40))
    assert read(data).dropped == {"x": "a tuple, no tensor"}


def test_the_dictionaries_of_python_2_are_read_once(read, torch_format):
    f, array = torch_format, ARRAYS["conv.weight"]
    pairs = b"](" + f.text("w") + f.tensor("0", array, stream=False) + b"\x86eq\x01"
    made = f.named("collections", "OrderedDict")
    data = f.archive(made + pairs + b"\x85R.", {"data/0": array.tobytes()})
    np.testing.assert_array_equal(read(data).tensors["w"], array)
    twice = b"(" + made + pairs + b"\x85R" + made + b"h\x01\x85RN0t0}."
    with pytest.raises(ValueError, match="got nothing"):
        read(f.archive(twice, {"data/0": array.tobytes()}))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "changed",
    [
        {"offset": 1},
        {"shape": (3, 5)},
        {"strides": (5, 1)},
        {"shape": (10**9, 4), "strides": (0, 1)},
        {"offset": -4},
        {"strides": (-4, 1)},
        {"shape": (12,)},
        {"count": 11},
        {"count": 13},
        {"count": 2**31 - 1},
        {"name": "../0"},
    ],
    ids=str,
)
def test_a_tensor_never_reaches_past_its_bytes(changed, form, read, torch_format):
    arrays = {"conv.weight": ARRAYS["conv.weight"]}
    with pytest.raises(ValueError, match="weights.pth"):
        read(torch_format.checkpoint(arrays, form, **changed))


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_file_is_named(form, read, torch_format):
    whole = torch_format.checkpoint(ARRAYS, form)
    for length in (0, 1, 3, 20, len(whole) // 2, len(whole) - 5, len(whole) - 1):
        with pytest.raises(ValueError, match="weights.pth is truncated, damaged"):
            read(whole[:length])


@pytest.mark.parametrize("form", FORMS)
def test_no_damage_goes_further_than_an_error(form, read, torch_format):
    whole = torch_format.checkpoint(ARRAYS, form)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        try:
            read(bytes(damaged))
        except ValueError as error:
            assert "weights.pth" in str(error)


def test_a_flipped_bit_in_a_zip_is_found(read, torch_format):
    data = torch_format.checkpoint(ARRAYS, "zip")
    place = data.index(ARRAYS["conv.weight"].tobytes())
    with pytest.raises(ValueError, match="CRC"):
        read(data[:place] + b"\x01" + data[place + 1 :])


def test_a_zip_bomb_is_not_unpacked(read, torch_format):
    data = torch_format.archive(b"}.", {"data/0": bytes(10**6)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="stored as they are"):
        read(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: b"hello, world", "begins with b'hello, w'"),
        (lambda f: pickle.dumps({"a": 1}), "begins with another pickle"),
        (lambda f: f.archive(b"}.", {"constants.pkl": b""}), "TorchScript program"),
        (lambda f: f.archive(b"}.", {"byteorder": b"big"}), "big-endian"),
        (
            lambda f: f.stream(b"}.", {}, system=pickle.dumps({"little_endian": False})),
            "big-endian",
        ),
        (lambda f: f.archive(b"ctorch.nn.modules.linear\nLinear\n.", {}), r"model.state_dict\(\)"),
        (lambda f: f.archive(b"].", {}), "tensors by name, got a list"),
        (lambda f: f.archive(b"}.", {}), "tensors by name, got nothing"),
    ],
)
def test_other_kinds_of_files_are_refused_by_kind(make, message, read, torch_format):
    with pytest.raises(ValueError, match=message):
        read(make(torch_format))


def test_a_dictionary_that_holds_itself_ends(read, torch_format):
    data = b"}q\x00(" + torch_format.text("self") + b"h\x00u."
    with pytest.raises(ValueError, match="tensors by name, got self"):
        read(torch_format.archive(data, {}))


def test_a_parameter_of_early_versions_is_its_tensor(read, torch_format):
    array = ARRAYS["conv.weight"]
    inside = torch_format.tensor("0", array, stream=False)
    parameter = torch_format.named("torch.nn.parameter", "Parameter") + inside + b"\x85\x81"
    data = torch_format.dictionary({"w": parameter + b"(\x88\x89NtbN0"}) + b"."
    contents = read(torch_format.archive(data, {"data/0": array.tobytes()}))
    np.testing.assert_array_equal(contents.tensors["w"], array)


@pytest.mark.parametrize("wrapper", ["params", "ema", "student", "network"])
def test_tensors_are_found_in_what_training_programs_call_them(wrapper, tmp_path, torch_format):
    path = tmp_path / "w.ckpt"
    arrays = {"conv1.weight": np.ones((2, 3), np.float32)}
    path.write_bytes(torch_format.checkpoint(arrays, "zip", wrapper=wrapper))
    contents = files.read_contents(path)
    assert list(contents.tensors) == ["conv1.weight"]
    assert contents.dropped == {"epoch": f"beside {wrapper!r}, which was read"}


@pytest.mark.parametrize("name", ["model_best.pth.tar", "last.ckpt", "LAST.CKPT"])
def test_further_endings_of_pytorch_are_read(name, tmp_path, torch_format):
    arrays = {"conv1.weight": np.ones((2, 3), np.float32)}
    (tmp_path / name).write_bytes(torch_format.checkpoint(arrays, "stream"))
    assert list(files.read(tmp_path / name)) == ["conv1.weight"]
