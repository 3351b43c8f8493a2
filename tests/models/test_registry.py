"""The zoo: names, overrides, and the messages for wrong ones."""

import pytest
from jax import numpy as jnp

from cnnlab import models


def test_the_published_nets_are_there():
    depths = {"vgg{}": (11, 13, 16, 19), "vgg{}_small": (11, 13, 16, 19), "plain{}": (18, 34)}
    depths["resnet{}"] = (8, 20, 32, 44, 56, 110, 18, 34, 50, 101, 152)
    depths["plain{}"] += (8, 20, 32, 44, 56, 110)
    named = {name.format(depth) for name in depths for depth in depths[name]}
    single = "linear mlp lenet5 lenet5_1998 alexnet alexnet_small squeezenet airbench94 unet"
    named |= {*single.split(), "alexnet_torchvision", "conv_autoencoder", "dense_autoencoder"}
    assert set(models.names()) == named


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
        (models.create("resnet50", small=True), models.resnet(depth=50, small=True)),
        (models.create("vgg16", norm="batch"), models.vgg(depth=16, norm="batch")),
        (models.create("unet"), models.unet(2)),
        (models.create("conv_autoencoder", channels=3), models.conv_autoencoder(3)),
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
    with pytest.raises(ValueError, match=r"unknown model '\?\?'\. Known: linear, mlp, lenet5, "):
        models.create("??")


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("resnet20", "widht", "Did you mean 'width'"),
        ("resnet20", "depth", "Known: shortcut, width, norm, activation, dtype"),
        ("plain20", "shortcut", "Known: width, norm, activation, dtype"),
        ("linear", "width", "Known: dtype"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest_and_all(name, option, message):
    with pytest.raises(
        ValueError, match=f"unknown option of model '{name}': '{option}'.*{message}"
    ):
        models.create(name, **{option: 1})


def test_an_autoencoder_is_asked_for_channels_not_classes():
    with pytest.raises(ValueError, match="conv_autoencoder gives images and no classes.*channels="):
        models.create("conv_autoencoder", 10)


def test_options_are_listed_with_their_defaults():
    assert models.options("plain20")["width"] == 16 and "shortcut" not in models.options("plain20")
    with pytest.raises(ValueError, match="Did you mean 'vgg19' or 'vgg16'"):
        models.options("vgg12")


@pytest.mark.parametrize("name", ["linear", "resnet8"])
def test_a_network_without_classes_is_refused(name):
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        models.create(name, num_classes=0)
