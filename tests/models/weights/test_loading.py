"""Loading reports on every leaf, and refuses the weights of another network."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from cnnlab import models
from cnnlab.models import weights

RNG = np.random.default_rng(0)


def state_dict(classes=4, blocks=1, prefix=""):
    """A residual net's names, a few of them."""
    shapes = {
        "conv1.weight": (2, 3, 3, 3),
        "bn1.weight": (2,),
        "bn1.bias": (2,),
        "bn1.running_mean": (2,),
        "bn1.running_var": (2,),
        **{f"layer1.{i}.conv1.weight": (2, 2, 3, 3) for i in range(blocks)},
        "fc.weight": (classes, 2),
        "fc.bias": (classes,),
    }
    made = {prefix + k: RNG.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    made[f"{prefix}bn1.running_var"] **= 2
    return made | {f"{prefix}bn1.num_batches_tracked": np.array(9)}


def network_variables(classes=4, blocks=1, dtype=jnp.float32):
    """The same net here, all zeros."""
    zeros = lambda *shape: jnp.zeros(shape, dtype)  # noqa: E731
    stage = {f"block{i}": {"conv1": {"kernel": zeros(3, 3, 2, 2)}} for i in range(blocks)}
    norm = {"scale": zeros(2), "bias": zeros(2)}
    dense = {"kernel": zeros(2, classes), "bias": zeros(classes)}
    return {
        "params": {
            "stem": {"conv": {"kernel": zeros(3, 3, 3, 2)}, "norm": norm},
            "stage1": stage,
            "head": {"classifier": {"dense": dense}},
        },
        "batch_stats": {"stem": {"norm": {"mean": zeros(2), "var": zeros(2)}}},
    }


@pytest.fixture
def save(tmp_path):
    def save(arrays):
        np.savez(tmp_path / "weights.npz", **arrays)
        return tmp_path / "weights.npz"

    return save


def head(variables):
    return variables["params"]["head"]["classifier"]["dense"]


def test_the_report_counts_and_names_what_was_skipped(save):
    theirs = state_dict()
    variables, report = weights.load(save(theirs), network_variables())
    assert (report.loaded, report.total, report.mapping) == (8, 8, "resnet")
    assert report.skipped == (("bn1.num_batches_tracked", "a counter that nothing here uses"),)
    assert report.missing == () and report.unused == ()
    assert str(report).startswith("loaded 8 of 8 from ")
    assert "skipped: bn1.num_batches_tracked: a counter" in str(report)
    np.testing.assert_array_equal(head(variables)["kernel"], theirs["fc.weight"].T)
    var = variables["batch_stats"]["stem"]["norm"]["var"]
    np.testing.assert_array_equal(var, theirs["bn1.running_var"])
    kernel = variables["params"]["stage1"]["block0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, theirs["layer1.0.conv1.weight"].transpose(2, 3, 1, 0))


def test_values_that_are_no_tensors_are_reported(tmp_path, torch_format):
    arrays = {k: v for k, v in state_dict().items() if v.dtype == np.float32}
    path = tmp_path / "weights.pth"
    path.write_bytes(torch_format.checkpoint(arrays, "stream", wrapper="state_dict"))
    _, report = weights.load(path, network_variables())
    assert report.loaded == 8
    assert report.skipped == (("epoch", "beside 'state_dict', which was read"),)


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "module.model."])
def test_a_prefix_that_all_names_have_is_dropped(prefix, save):
    assert weights.load(save(state_dict(prefix=prefix)), network_variables())[1].loaded == 8


def test_shapes_alone_do_where_everything_is_found(save):
    shapes = jax.eval_shape(network_variables)
    variables, report = weights.load(save(state_dict()), shapes)
    assert report.loaded == 8
    assert isinstance(head(variables)["bias"], jax.Array)
    with pytest.raises(ValueError, match="variables are shapes alone"):
        weights.load(save(state_dict(classes=9)), shapes, replace_head=True)


@pytest.mark.parametrize("theirs", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_values_take_the_dtype_of_the_variables(theirs, tmp_path):
    variables = network_variables()
    made = jax.tree.map(lambda leaf: np.asarray(leaf + 0.1, theirs), variables)
    path = tmp_path / "weights.safetensors"
    weights.save_safetensors(made, path)
    loaded, _ = weights.load(path, variables)
    kernel = head(loaded)["kernel"]
    assert kernel.dtype == jnp.float32
    np.testing.assert_array_equal(kernel, np.asarray(head(made)["kernel"]).astype(np.float32))


def test_a_head_of_another_size_is_replaced_only_when_asked(save):
    path, variables = save(state_dict(classes=1000)), network_variables()
    head(variables)["kernel"] = head(variables)["kernel"] + 0.5
    with pytest.raises(ValueError) as caught:
        weights.load(path, variables)
    message = str(caught.value)
    assert "fc.weight (2, 1000) -> (2, 4), fc.bias (1000,) -> (4,)" in message
    assert "replace_head=True" in message

    loaded, report = weights.load(path, variables, replace_head=True)
    assert (report.loaded, report.total) == (6, 8)
    assert dict(report.missing) == {
        "params/head/classifier/dense/kernel": "fc.weight (2, 1000) -> (2, 4)",
        "params/head/classifier/dense/bias": "fc.bias (1000,) -> (4,)",
    }
    assert {"fc.weight", "fc.bias"} <= set(dict(report.skipped))
    assert "loaded 6 of 8" in str(report)
    np.testing.assert_array_equal(head(loaded)["kernel"], 0.5)


@pytest.mark.parametrize(
    ("change", "outputs"),
    [
        (lambda fc: {**fc, "fc.weight": fc["fc.weight"][:3], "fc.bias": fc["fc.bias"][:3]}, 3),
        (lambda fc: {**fc, "fc.weight": np.zeros((4, 18), np.float32)}, None),  # a larger image
        (lambda fc: {name: value for name, value in fc.items() if "fc" not in name}, None),
    ],
)
def test_an_error_of_the_head_alone_says_how_many_outputs_there_are(change, outputs, save):
    with pytest.raises(weights.HeadError) as caught:
        weights.load(save(change(state_dict())), network_variables())
    assert caught.value.outputs == outputs
    assert "replace_head" not in caught.value.details


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_channels_is_read_from_the_file(count, tmp_path):
    network = models.create("resnet8", 4, width=2, norm="group")
    shapes = jax.eval_shape(
        network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, count), jnp.float32)
    )
    path = tmp_path / "x.safetensors"
    weights.save_safetensors(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes), path)
    assert weights.input_channels(path, network, (8, 8, 2)) == count


def test_a_network_without_convolutions_takes_the_images_that_there_are(save):
    network = models.create("mlp", 4, widths=(3,))
    assert weights.input_channels(save(state_dict()), network, (2, 2, 5)) == 5


def test_a_head_that_fits_is_loaded_also_when_it_may_be_replaced(save):
    assert weights.load(save(state_dict()), network_variables(), replace_head=True)[1].loaded == 8


def test_a_missing_head_and_a_foreign_one_may_be_replaced(save):
    theirs = state_dict()
    theirs["projector.0.weight"] = theirs.pop("fc.weight")
    del theirs["fc.bias"]
    path = save(theirs)
    with pytest.raises(ValueError, match=r"unexpected in the file \(1\): projector.0.weight"):
        weights.load(path, network_variables())
    _, report = weights.load(path, network_variables(), replace_head=True)
    assert report.loaded == 6
    assert report.unused == ("projector.0.weight",)
    assert {reason for _, reason in report.missing} == {"not in the file"}


@pytest.mark.parametrize("classes", [4, 9])
@pytest.mark.parametrize("extra", ["layer1.0.se.fc1.weight", "layer1.0.conv2b.weight", "gate.bias"])
def test_parts_outside_the_head_are_never_left_out(extra, classes, save):
    path = save(state_dict(classes) | {extra: np.ones((2, 2), np.float32)})
    with pytest.raises(ValueError, match=rf"unexpected in the file \(1\): {extra}"):
        weights.load(path, network_variables(), replace_head=True)
    with pytest.raises(ValueError) as caught:
        weights.load(path, network_variables())
    assert extra in str(caught.value)
    assert "replace_head=True" not in str(caught.value)  # which would not help


def test_parts_of_the_body_are_not_taken_for_a_missing_head(save):
    theirs = {k: v for k, v in state_dict().items() if not k.startswith("fc")}
    path = save(theirs | {"layer1.0.se.fc1.weight": np.ones((2, 2), np.float32)})
    with pytest.raises(ValueError, match=r"\(1\): layer1.0.se.fc1.weight"):
        weights.load(path, network_variables(), replace_head=True)


def test_what_lies_beside_a_replaced_head_goes_with_it(save):
    path = save(state_dict(classes=9) | {"module.fc.scale_of": np.ones(2, np.float32)})
    with pytest.raises(ValueError, match=r"module.fc.scale_of"):  # not under the head's name
        weights.load(path, network_variables(), replace_head=True)
    path = save(state_dict(classes=9) | {"fc.temperature": np.ones(2, np.float32)})
    _, report = weights.load(path, network_variables(), replace_head=True)
    assert (report.loaded, report.unused) == (6, ("fc.temperature",))


@pytest.mark.parametrize("replace_head", [False, True])
def test_a_deeper_or_shallower_net_is_refused(replace_head, save):
    deeper, shallower = save(state_dict(blocks=20)), network_variables()
    with pytest.raises(ValueError) as caught:
        weights.load(deeper, shallower, replace_head=replace_head)
    message = str(caught.value)
    assert "weights.npz holds another network: read by the mapping 'resnet', 8 of 8" in message
    assert "unexpected in the file (19): layer1.1.conv1.weight, " in message
    assert "and 9 more" in message

    path = save(state_dict(blocks=1))
    missing = r"missing from the file \(1\): params/stage1/block1/conv1/kernel"
    with pytest.raises(ValueError, match=missing):
        weights.load(path, network_variables(blocks=2), replace_head=replace_head)


def test_another_architecture_is_refused_with_its_keys(save):
    variables = jax.eval_shape(
        models.create("lenet5", 10).init, jax.random.key(0), jnp.zeros((1, 28, 28, 1))
    )
    with pytest.raises(ValueError) as caught:
        weights.load(save(state_dict()), variables)
    message = str(caught.value)
    assert "read by the mapping 'resnet', 0 of 10 leaves" in message
    assert "conv1.weight (3, 3, 3, 2) -> (5, 5, 1, 6)" in message
    assert "params/stage1/conv/kernel" in message
    assert "layer1.0.conv1.weight" in message
    assert "name a mapping: cnnlab, resnet" in message


def test_whole_numbers_are_no_weights(save):
    theirs = state_dict()
    theirs["conv1.weight"] = np.ones((2, 3, 3, 3), np.int8)  # quantised, its factor elsewhere
    with pytest.raises(ValueError, match="conv1.weight int8 -> float32"):
        weights.load(save(theirs), network_variables())


def test_tensors_that_change_nothing_are_not_needed(save):
    theirs, variables = state_dict(), network_variables()
    del variables["params"]["stem"]["norm"]["scale"]
    with pytest.raises(ValueError, match=r"unexpected in the file \(1\): bn1.weight"):
        weights.load(save(theirs), variables)
    theirs["bn1.weight"] = np.ones(2, np.float32)
    theirs["conv1.bias"] = np.zeros(2, np.float32)
    _, report = weights.load(save(theirs), variables)
    reasons = dict(report.skipped)
    assert reasons["bn1.weight"] == "all ones, and the norm here has no scale"
    assert reasons["conv1.bias"] == "all zeros, and the layer here has no bias"


def test_a_mapping_can_be_named(save):
    path = save(state_dict())
    assert weights.load(path, network_variables(), mapping="resnet")[1].loaded == 8
    with pytest.raises(ValueError, match="read by the mapping 'vgg', 0 of 8"):
        weights.load(path, network_variables(), mapping="vgg")
    with pytest.raises(ValueError, match="Did you mean 'resnet'"):
        weights.load(path, network_variables(), mapping="resent")
    assert set(weights.mappings()) >= {"cnnlab", "resnet", "vgg", "squeezenet_caffe"}


@pytest.mark.parametrize(
    "prefix",
    ["net.", "network.", "encoder.", "backbone.", "base_model.", "student.", "encoder_q.", "cnn."],
)
@pytest.mark.parametrize(
    "extra",
    [
        {"n_averaged": np.array(3)},
        {"criterion.weight": np.ones(4, np.float32)},
        {"train_acc.tp": np.zeros(4, np.int64)},
        {"normalize.mean": np.zeros((3, 1, 1), np.float32)},
        {"queue": np.ones((2, 8), np.float32), "queue_ptr": np.zeros(1, np.int64)},
        {"encoder_k.conv1.weight": np.ones((2, 3, 3, 3), np.float32)},
    ],
)
def test_a_prefix_is_dropped_where_it_is_and_the_rest_reported(prefix, extra, save):
    theirs = state_dict(prefix=prefix)
    variables, report = weights.load(save(theirs | extra), network_variables())
    assert (report.loaded, report.total) == (8, 8)
    assert set(extra) == {name for name, _ in report.skipped} - {f"{prefix}bn1.num_batches_tracked"}
    assert all(name in str(report) for name in extra)
    kernel = variables["params"]["stem"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel, theirs[f"{prefix}conv1.weight"].transpose(2, 3, 1, 0))


@pytest.mark.parametrize(
    ("body", "head_prefix"), [("backbone.", ""), ("module.encoder.", "module.")]
)
def test_a_head_outside_the_prefix_is_found(body, head_prefix, save):
    theirs = {k: v for k, v in state_dict(prefix=body).items() if "fc" not in k}
    theirs |= {f"{head_prefix}{k}": v for k, v in state_dict().items() if "fc" in k}
    variables, report = weights.load(save(theirs), network_variables())
    assert report.loaded == 8
    bias = head(variables)["bias"]
    np.testing.assert_array_equal(bias, theirs[f"{head_prefix}fc.bias"])


@pytest.mark.parametrize("inside_first", [True, False])
def test_of_two_arrays_of_a_name_the_one_under_the_prefix_is_taken(inside_first, save):
    inside = state_dict(prefix="backbone.")
    outside = {"fc.bias": np.full(4, 7, np.float32)}
    theirs = inside | outside if inside_first else outside | inside
    variables, report = weights.load(save(theirs), network_variables())
    np.testing.assert_array_equal(head(variables)["bias"], inside["backbone.fc.bias"])
    assert dict(report.skipped)["fc.bias"] == "not under 'backbone.', where the network is"


def test_of_two_networks_in_a_file_one_is_taken_and_the_other_reported(save):
    student, teacher = state_dict(prefix="student."), state_dict(prefix="teacher.")
    variables, report = weights.load(save(teacher | student), network_variables())
    np.testing.assert_array_equal(head(variables)["bias"], student["student.fc.bias"])
    reported = dict(report.skipped)
    assert reported["teacher.fc.bias"] == "not under 'student.', where the network is"


def test_of_two_networks_of_unknown_names_none_is_taken(save):
    arrays = state_dict(prefix="actor.") | state_dict(prefix="critic.")
    with pytest.raises(ValueError, match="several networks .* under 'actor.' and 'critic.': save"):
        weights.load(save(arrays), network_variables())


def test_what_lies_beside_the_prefix_is_listed_where_the_head_is_missing(save):
    theirs = {k: v for k, v in state_dict(prefix="backbone.").items() if "fc" not in k}
    path = save(theirs | {"projector.weight": np.ones((4, 2), np.float32)})
    with pytest.raises(weights.HeadError, match=r"not under 'backbone.' \(1\): projector.weight"):
        weights.load(path, network_variables())


@pytest.mark.parametrize("extra", ["gate.bias", "model.gate.bias"])
def test_a_stray_prefix_hides_no_part_of_the_body(extra, save):
    theirs = state_dict()
    theirs["model.fc.bias"] = theirs.pop("fc.bias")
    with pytest.raises(ValueError, match=rf"unexpected in the file \(1\): {extra}"):
        weights.load(save(theirs | {extra: np.ones(2, np.float32)}), network_variables())


def test_counters_of_an_average_are_no_weights_without_a_prefix_either(save):
    _, report = weights.load(save(state_dict() | {"n_averaged": np.array(3)}), network_variables())
    assert dict(report.skipped)["n_averaged"] == "a counter that nothing here uses"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_refused_by_name(bad, save):
    theirs = {k: v.astype(np.float64) for k, v in state_dict().items()}
    theirs["layer1.0.conv1.weight"][0, 0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 8 .*: layer1.0.conv1.weight\."):
        weights.load(save(theirs), network_variables())


def test_negative_variances_are_refused_by_name(save):
    theirs = state_dict()
    theirs["bn1.running_var"][0] = -1
    with pytest.raises(ValueError, match=r"negative variances in 1 of 1 .*: bn1.running_var\."):
        weights.load(save(theirs), network_variables())


def test_a_head_that_is_replaced_may_hold_anything(save):
    theirs = state_dict(classes=9)
    theirs["fc.weight"][0] = np.nan
    _, report = weights.load(save(theirs), network_variables(), replace_head=True)
    assert report.loaded == 6
    theirs["bn1.bias"][0] = np.nan
    with pytest.raises(ValueError, match=r"1 of 6 arrays that are needed: bn1.bias"):
        weights.load(save(theirs), network_variables(), replace_head=True)


@pytest.mark.parametrize("unused", ["head", "head/.*/kernel"])
def test_stages_that_will_be_replaced_may_hold_anything(unused, save):
    theirs = state_dict()
    theirs["fc.weight"][0] = np.nan
    assert weights.load(save(theirs), network_variables(), unused=(unused,))[1].loaded == 8
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 7 .*: fc.weight"):
        weights.load(save(theirs), network_variables(), unused=("head/.*/bias",))
