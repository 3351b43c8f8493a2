"""Surgery: copied and fresh arrays, arrays that do not fit, and new input channels."""

import dataclasses

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax import numpy as jnp

from cnnlab import augment, data, models, optim
from cnnlab.train import Recipe, restarted
from cnnlab.transfer.freezing import freeze
from cnnlab.transfer.surgery import (
    SurgeryError,
    copy_variables,
    last_stages,
    transplant,
    transplant_each,
)


def variables(network, shape=(8, 8, 1), seed=0):
    """Noise in the shapes of a network's variables: nothing is compiled."""
    generator = np.random.default_rng(seed)
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    return jax.tree.map(lambda s: generator.normal(size=s.shape).astype(s.dtype), shapes)


def resnet(classes=3, **options):
    return models.create("resnet8", classes, width=2, **options)


def flat(tree):
    return flatten_dict(tree, sep="/")


SOURCE = variables(resnet(5), seed=1)
FRESH = variables(resnet(3), seed=2)


def check(actual, new):
    """Every leaf is the source's or, where ``new`` is true, the fresh one's."""
    for path, leaf in flat(actual).items():
        origin = FRESH if new(path.partition("/")[2]) else SOURCE
        np.testing.assert_array_equal(leaf, flat(origin)[path], err_msg=path)


def test_all_is_copied_by_name_but_the_head():
    actual, report = copy_variables(SOURCE, FRESH)
    check(actual, lambda path: path.startswith("head/"))
    assert set(report.fresh) == {"head/classifier/dense/kernel", "head/classifier/dense/bias"}
    total = len(jax.tree.leaves(FRESH))
    assert len(report.copied) == total - 2
    assert str(report).startswith(f"copied {total - 2} of {total} arrays\nfresh: head/")
    assert "stage1/block0/norm1/mean" in report.copied  # statistics, too


def test_stages_and_patterns_start_afresh_with_their_statistics():
    actual, _ = copy_variables(SOURCE, FRESH, reinitialise=last_stages(resnet(), 2))
    check(actual, lambda path: path.startswith(("head/", "stage3/")))
    actual, report = copy_variables(SOURCE, FRESH, reinitialise=("head", ".*/norm[12]/.*"))
    check(actual, lambda path: path.startswith("head/") or "/norm1/" in path or "/norm2/" in path)
    assert "stage2/block0/norm2/var" in report.fresh


def test_the_last_stages_are_counted_from_the_head():
    assert last_stages(resnet(), 1) == ("head",)
    assert last_stages(resnet(), 3) == ("stage2", "stage3", "head")
    for k in (0, 5):
        with pytest.raises(ValueError, match="k must be in 1 to 4"):
            last_stages(resnet(), k)


def test_reinitialised_arrays_may_be_missing_on_either_side():
    other = {"params": {**SOURCE["params"], "head": {"conv": {"kernel": np.zeros((1, 1, 8, 5))}}}}
    actual, report = copy_variables(other | {"batch_stats": SOURCE["batch_stats"]}, FRESH)
    check(actual, lambda path: path.startswith("head/"))
    assert report.left == ("head/conv/kernel",)
    assert "not used of the source: head/conv/kernel" in str(report)


def test_values_take_the_dtype_of_the_fresh_ones():
    low = jax.tree.map(lambda leaf: leaf.astype(np.float16), FRESH)
    actual, _ = copy_variables(SOURCE, low)
    assert {leaf.dtype for leaf in jax.tree.leaves(actual)} == {np.dtype(np.float16)}


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (variables(resnet(3, norm="none")), {}, r"missing from the source \(.*norm1/"),
        (variables(resnet(3, shortcut="B")), {}, r"only in the source .*projection"),
        (variables(models.create("lenet5", 3), (28, 28, 1)), {}, "another network: 0 of"),
        (SOURCE, {"reinitialise": ()}, r"(2, 5|\(5,\) -> \(3,\)).*\n.*other classes"),
        (SOURCE, {"reinitialise": ("haed",)}, "Did you mean 'head'"),
        (SOURCE, {"reinitialise": ("head", "stage7/.*")}, "stage7.*Did you mean .stage3"),
        (SOURCE, {"reinitialise": ("stage[/.*",)}, "no regular expression"),
        (SOURCE, {"reinitialise": "head"}, "sequence of patterns"),
        (SOURCE, {"reinitialise": (".*",)}, "nothing would be copied"),
        (SOURCE["params"], {}, "variables must be"),
        (variables(resnet(), (8, 8, 3)), {}, 'channels="sum"'),
        (variables(resnet(), (8, 8, 3)), {"channels": "mean"}, "unknown way .*Known: sum, adapt"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_and_listed(source, settings, message):
    with pytest.raises(SurgeryError, match=f"(?s){message}"):
        copy_variables(source, FRESH, **settings)


# The input's channels ------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (3, 4)])
def test_summed_channels_have_the_same_output_for_grey_images(before, after):
    source = variables(resnet(5), (8, 8, before), seed=1)
    fresh = variables(resnet(3), (8, 8, after), seed=2)
    actual, report = copy_variables(source, fresh, channels="sum")
    assert f"from {before} to {after} input channels (sum)" in str(report)
    old, new = (tree["params"]["stem"]["conv"]["kernel"] for tree in (source, actual))
    # Of an image that is the same in all channels a convolution sees the sums.
    np.testing.assert_allclose(new.sum(2), old.sum(2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(new, np.broadcast_to(new[:, :, :1], new.shape))


def test_adapted_channels_are_the_old_ones_in_turn_and_scaled():
    source, fresh = variables(resnet(5), (8, 8, 3)), variables(resnet(3), (8, 8, 4))
    actual, _ = copy_variables(source, fresh, channels="adapt")
    old, new = (tree["params"]["stem"]["conv"]["kernel"] for tree in (source, actual))
    np.testing.assert_allclose(new, 0.75 * old[:, :, [0, 1, 2, 0]])


def test_no_other_kernel_than_the_first_is_adapted():
    wider = {**FRESH["params"]["stage1"]["block0"]["conv1"]}
    wider["kernel"] = np.zeros((3, 3, 3, 2))
    block = {**FRESH["params"]["stage1"]["block0"], "conv1": wider}
    stage1 = {**FRESH["params"]["stage1"], "block0": block}
    params = dict(sorted({**FRESH["params"], "stage1": stage1}.items()))
    fresh = {**FRESH, "params": params}
    with pytest.raises(SurgeryError, match="stage1/block0/conv1/kernel") as caught:
        copy_variables(SOURCE, fresh, channels="sum")
    assert "Only the input channels" not in str(caught.value)
    _, report = copy_variables(SOURCE, fresh, channels="sum", first="stage1")
    assert report.adapted.startswith("stage1/block0/conv1/kernel from 2 to 3")


# States --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transplanted():
    """Three members with a trained front and heads of their own; only the heads learn."""
    network = models.create("mlp", 3, widths=(4, 4), norm="batch")
    splits = data.load("synthetic:60:4x4x1:3")
    recipe = Recipe(network, optim.sgd(0.1), augment.to_unit_range())
    recipe = dataclasses.replace(recipe, rates=freeze(network, patterns=("stage.*",)))
    source = variables(models.create("mlp", 7, widths=(4, 4), norm="batch"), (4, 4, 1))
    return source, *transplant(source, recipe, splits.train, (0, 1, 5))


def test_members_have_the_same_front_and_heads_of_their_own(transplanted):
    source, states, _ = transplanted
    for path, leaf in flat({"params": states.params, **states.model_state}).items():
        assert leaf.shape[0] == 3
        if "/head/" in path:
            assert "bias" in path or not np.array_equal(leaf[0], leaf[1])
        else:
            for member in leaf:
                np.testing.assert_array_equal(member, flat(source)[path])
    assert states.step.tolist() == [0, 0, 0]


def test_the_optimizer_has_trainable_parameters_only(transplanted):
    _, states, report = transplanted
    shapes = {leaf.shape for leaf in jax.tree.leaves(states.opt_state) if leaf.ndim > 1}
    assert shapes == {(3, 4, 3), (3, 3)}  # of the head
    assert report.fresh == ("head/dense/bias", "head/dense/kernel")


def test_each_member_gets_the_stages_of_a_network_of_its_own(transplanted):
    _, states, _ = transplanted
    network = models.create("mlp", 3, widths=(4, 4), norm="batch")
    recipe = Recipe(network, optim.sgd(0.1), augment.to_unit_range())
    trained = jax.tree.map(
        lambda leaf: leaf + np.arange(3).reshape(3, *[1] * (leaf.ndim - 1)),
        {"params": states.params, **states.model_state},
    )
    sources = restarted(recipe, trained["params"], {"batch_stats": trained["batch_stats"]})
    actual, report = transplant_each(sources, recipe, states, ("stage1",))
    for path, leaf in flat({"params": actual.params, **actual.model_state}).items():
        origin = trained if "/stage1/" in path else {"params": states.params, **states.model_state}
        np.testing.assert_array_equal(leaf, flat(origin)[path], err_msg=path)
    assert all("stage1" not in path for path in report.fresh)
    with pytest.raises(ValueError, match="unknown stage 'stgae1'. Did you mean 'stage1'"):
        transplant_each(sources, recipe, states, ("stgae1",))
