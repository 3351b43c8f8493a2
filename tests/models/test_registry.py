"""The zoo: names, overrides, and what a wrong one is told."""

import jax
import pytest
from jax import numpy as jnp

from cnnlab import models


@pytest.mark.parametrize("name", models.names())
def test_every_name_makes_a_classifier_of_so_many_classes(name):
    network = models.create(name, num_classes=7)
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    logits, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    assert logits.shape == (2, 7) and logits.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_the_published_nets_are_there():
    depths = (8, 20, 32, 44, 56, 110)
    nets = {f"{kind}{depth}" for kind in ("resnet", "plain") for depth in depths}
    assert set(models.names()) == {"linear", "mlp", "lenet5"} | nets


@pytest.mark.parametrize(
    ("made", "same"),
    [
        (models.create("resnet20"), models.resnet_cifar(depth=20)),
        (models.create("plain20", 5), models.resnet_cifar(5, depth=20, shortcut="none")),
        (
            models.create("resnet8", width=3, shortcut="B", dtype=jnp.bfloat16),
            models.resnet_cifar(depth=8, width=3, shortcut="B", dtype=jnp.bfloat16),
        ),
        (models.create("mlp", widths=(7,)), models.mlp(widths=(7,))),
        (models.create("lenet5", padding="SAME"), models.lenet5(padding="SAME")),
        (models.create("linear", 3), models.linear(3)),
    ],
)
def test_a_name_with_overrides_is_the_family_with_arguments(made, same):
    assert made == same


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet21", "'resnet20'"), ("lenet", "'lenet5'"), ("plain-20", "'plain20'")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, near):
    with pytest.raises(ValueError, match=rf"unknown model '{name}'\. Did you mean .*{near}"):
        models.create(name)


def test_a_name_like_no_other_is_answered_with_all():
    with pytest.raises(ValueError, match=r"unknown model '\?\?'\. Known: linear, mlp, lenet5, res"):
        models.create("??")


@pytest.mark.parametrize(
    ("name", "option", "said"),
    [
        ("resnet20", "widht", "Did you mean 'width'"),
        ("resnet20", "depth", "Known: shortcut, width, dtype"),
        ("plain20", "shortcut", "Known: width, dtype"),
        ("linear", "width", "Known: dtype"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest_and_all(name, option, said):
    with pytest.raises(ValueError, match=f"unknown option of model '{name}': '{option}'.*{said}"):
        models.create(name, **{option: 1})


@pytest.mark.parametrize("name", ["linear", "resnet8"])
def test_a_network_without_classes_is_refused(name):
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        models.create(name, num_classes=0)
