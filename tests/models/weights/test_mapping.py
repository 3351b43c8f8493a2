"""Other people's names find their places, for every family."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models import weights
from cnnlab.models.airbench import airbench
from cnnlab.models.alexnet import alexnet
from cnnlab.models.layers import ConvTranspose
from cnnlab.models.resnet import resnet
from cnnlab.models.squeezenet import squeezenet
from cnnlab.models.unet import unet
from cnnlab.models.vgg import vgg
from cnnlab.models.weights import layout


class Writer:
    """Makes a state dictionary: every tensor a number of its own, in PyTorch's shapes."""

    def __init__(self):
        self.made = {}

    def fill(self, name, *shape):
        self.made[name] = np.full(shape, len(self.made) + 1, np.float32)

    def conv(self, name, inputs, outputs, size, bias=True):
        self.fill(f"{name}.weight", outputs, inputs, size, size)
        if bias:
            self.fill(f"{name}.bias", outputs)

    def dense(self, name, inputs, outputs, bias=True):
        self.fill(f"{name}.weight", outputs, inputs)
        if bias:
            self.fill(f"{name}.bias", outputs)

    def norm(self, name, maps):
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            self.fill(f"{name}.{tensor}", maps)
        self.made[f"{name}.num_batches_tracked"] = np.array(5)


def resnet_names(depth, width):
    """torchvision's residual nets of 18 and 50 layers."""
    w = Writer()
    w.conv("conv1", 3, width, 7, bias=False)
    w.norm("bn1", width)
    before = width
    blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]
    for layer, count in enumerate(blocks, start=1):
        maps = width * 2 ** (layer - 1)
        out = maps if depth == 18 else 4 * maps
        for block in range(count):
            name = f"layer{layer}.{block}"
            if depth == 18:
                kernels = ((before, maps, 3), (maps, maps, 3))
            else:
                kernels = ((before, maps, 1), (maps, maps, 3), (maps, out, 1))
            for i, (inputs, outputs, size) in enumerate(kernels, start=1):
                w.conv(f"{name}.conv{i}", inputs, outputs, size, bias=False)
                w.norm(f"{name}.bn{i}", outputs)
            if block == 0 and before != out:
                w.conv(f"{name}.downsample.0", before, out, 1, bias=False)
                w.norm(f"{name}.downsample.1", out)
            before = out
    w.dense("fc", before, 7)
    return w.made


def cifar_names():
    """A residual net of 8 layers for CIFAR, with projections, as DataParallel saves it."""
    w = Writer()
    w.conv("module.conv1", 3, 2, 3, bias=False)
    w.norm("module.bn1", 2)
    for layer, (before, maps) in enumerate(((2, 2), (2, 4), (4, 8)), start=1):
        name = f"module.layer{layer}.0"
        for i, inputs in ((1, before), (2, maps)):
            w.conv(f"{name}.conv{i}", inputs, maps, 3, bias=False)
            w.norm(f"{name}.bn{i}", maps)
        if layer > 1:
            w.conv(f"{name}.shortcut.0", before, maps, 1, bias=False)
            w.norm(f"{name}.shortcut.1", maps)
    w.dense("module.linear", 8, 7)
    return w.made


def alexnet_names():
    w = Writer()
    sizes = ((0, 3, 4, 11), (3, 4, 5, 5), (6, 5, 6, 3), (8, 6, 7, 3), (10, 7, 8, 3))
    for place, inputs, outputs, size in sizes:
        w.conv(f"features.{place}", inputs, outputs, size)
    for place, inputs, outputs in ((1, 8, 9), (4, 9, 10), (6, 10, 7)):
        w.dense(f"classifier.{place}", inputs, outputs)
    return w.made


def lenet_names():
    w = Writer()
    w.conv("conv1", 1, 6, 5)
    w.conv("conv2", 6, 16, 5)
    for i, (inputs, outputs) in enumerate(((400, 120), (120, 84), (84, 7)), start=1):
        w.dense(f"fc{i}", inputs, outputs)
    return w.made


SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}


def squeezenet_names(caffe):
    w = Writer()
    w.conv("conv1" if caffe else "features.0", 3, 96, 7)
    before, places = 96, (3, 4, 5, 7, 8, 9, 10, 12)
    layers = (
        ("conv1x1_1", "conv1x1_2", "conv3x3_2") if caffe else ("squeeze", "expand1x1", "expand3x3")
    )
    for place, (fire, maps) in zip(places, SQUEEZED.items(), strict=True):
        name = f"fire{fire}" if caffe else f"features.{place}"
        w.conv(f"{name}.{layers[0]}", before, maps, 1)
        w.conv(f"{name}.{layers[1]}", maps, 4 * maps, 1)
        w.conv(f"{name}.{layers[2]}", maps, 4 * maps, 3)
        before = 8 * maps
    w.conv("conv_final" if caffe else "classifier.1", 512, 7, 1)
    if caffe:
        rename = lambda n: n.replace(".weight", "/w").replace(".bias", "/b").replace(".", "/")  # noqa: E731
        return {rename(name): value for name, value in w.made.items()}
    return w.made


def airbench_names(newer):
    w = Writer()
    w.conv("whiten" if newer else "0", 3, 24, 2)
    for i, (before, maps) in enumerate(((24, 4), (4, 5), (5, 6)), start=1 if newer else 2):
        name = f"layers.{i}" if newer else str(i)
        for j, inputs in ((1, before), (2, maps)):
            w.conv(f"{name}.conv{j}", inputs, maps, 3, bias=False)
            w.norm(f"{name}.norm{j}", maps)
            w.made[f"{name}.norm{j}.weight"] = np.ones(maps, np.float32)
    w.dense("head" if newer else "7", 6, 7, bias=False)
    return w.made


def unet_names():
    w = Writer()

    def double(name, inputs, outputs):
        for i, before in ((0, inputs), (3, outputs)):
            w.conv(f"{name}.double_conv.{i}", before, outputs, 3, bias=False)
            w.norm(f"{name}.double_conv.{i + 1}", outputs)

    double("inc", 3, 2)
    for i in range(1, 5):
        double(f"down{i}.maxpool_conv.1", 2**i, 2 ** (i + 1))
    for i in range(1, 5):
        maps = 2 ** (5 - i)
        w.fill(f"up{i}.up.weight", 2 * maps, maps, 2, 2)
        w.fill(f"up{i}.up.bias", maps)
        double(f"up{i}.conv", 2 * maps, maps)
    w.conv("outc.conv", 2, 7, 1)
    return w.made


# family: (network for 7 classes, image, names there, mapping, {name here: name there})
FAMILIES = {
    "resnet18": (
        lambda: resnet(7, depth=18, width=2), (32, 32, 3), lambda: resnet_names(18, 2), "resnet",
        {
            "params/stem/conv/kernel": "conv1.weight",
            "params/stage4/block1/norm2/scale": "layer4.1.bn2.weight",
            "batch_stats/stage2/block0/projection_norm/var": "layer2.0.downsample.1.running_var",
            "params/head/classifier/dense/bias": "fc.bias",
        },
    ),
    "resnet50": (
        lambda: resnet(7, depth=50, width=1), (32, 32, 3), lambda: resnet_names(50, 1), "resnet",
        {
            "params/stage1/block0/projection/kernel": "layer1.0.downsample.0.weight",
            "batch_stats/stage3/block5/norm3/mean": "layer3.5.bn3.running_mean",
        },
    ),
    "cifar": (
        lambda: models.create("resnet8", 7, width=2, shortcut="B"), (8, 8, 3), cifar_names,
        "resnet",
        {
            "params/stage3/block0/projection/kernel": "module.layer3.0.shortcut.0.weight",
            "params/stage1/block0/norm1/bias": "module.layer1.0.bn1.bias",
            "params/head/classifier/dense/kernel": "module.linear.weight",
        },
    ),
    "alexnet": (
        lambda: alexnet(7, widths=(4, 5, 6, 7, 8), hidden=(9, 10), norm="none"), (67, 67, 3),
        alexnet_names, "alexnet",
        {
            "params/stem/conv/kernel": "features.0.weight",
            "params/stage4/conv/bias": "features.10.bias",
            "params/stage6/dense/bias": "classifier.1.bias",
            "params/head/dense/kernel": "classifier.6.weight",
        },
    ),
    "lenet": (
        lambda: models.create("lenet5", 7), (28, 28, 1), lenet_names, "lenet",
        {"params/stage1/conv/bias": "conv2.bias", "params/stage3/dense/kernel": "fc2.weight"},
    ),
    "squeezenet": (
        lambda: squeezenet(7), (32, 32, 3), lambda: squeezenet_names(False), "squeezenet",
        {
            "params/stage1/fire4/expand3/kernel": "features.5.expand3x3.weight",
            "params/stage3/fire9/squeeze/bias": "features.12.squeeze.bias",
            "params/head/conv/kernel": "classifier.1.weight",
        },
    ),
    "squeezenet_caffe": (
        lambda: squeezenet(7), (32, 32, 3), lambda: squeezenet_names(True), "squeezenet_caffe",
        {
            "params/stage2/fire5/squeeze/kernel": "fire5/conv1x1_1/w",
            "params/stage2/fire5/expand1/bias": "fire5/conv1x1_2/b",
            "params/head/conv/bias": "conv_final/b",
        },
    ),
    "airbench": (
        lambda: airbench(7, widths=(4, 5, 6)), (32, 32, 3), lambda: airbench_names(False),
        "airbench",
        {
            "params/stem/conv/bias": "0.bias",
            "params/stage2/conv2/kernel": "3.conv2.weight",
            "batch_stats/stage3/norm2/mean": "4.norm2.running_mean",
            "params/head/dense/kernel": "7.weight",
        },
    ),
    "airbench_newer": (
        lambda: airbench(7, widths=(4, 5, 6)), (32, 32, 3), lambda: airbench_names(True),
        "airbench",
        {
            "params/stem/conv/kernel": "whiten.weight",
            "params/stage3/norm1/bias": "layers.3.norm1.bias",
        },
    ),
    "unet": (
        lambda: unet(7, width=2, norm="batch"), (32, 32, 3), unet_names, "unet",
        {
            "params/stem/conv2/kernel": "inc.double_conv.3.weight",
            "batch_stats/stage4/norm1/var": "down4.maxpool_conv.1.double_conv.1.running_var",
            "params/up1/up/kernel": "up1.up.weight",
            "params/up4/norm2/scale": "up4.conv.double_conv.4.weight",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_leaf_finds_its_values(family, tmp_path):
    make, image, names, mapping, places = FAMILIES[family]
    theirs = names()
    np.savez(tmp_path / "w.npz", **theirs)
    variables = jax.eval_shape(make().init, jax.random.key(0), jnp.zeros((1, *image)))
    variables, report = weights.load(tmp_path / "w.npz", variables)
    assert report.mapping == mapping
    assert report.loaded == report.total == len(jax.tree.leaves(variables))
    unneeded = {"a counter that nothing here uses", "all ones, and the norm here has no scale"}
    assert {reason for _, reason in report.skipped} <= unneeded
    assert not report.missing and not report.unused
    for here, there in places.items():
        leaf = variables
        for part in here.split("/"):
            leaf = leaf[part]
        assert np.all(leaf == theirs[there].flat[0]), here


def test_a_vgg_gives_the_logits_of_pytorch(tmp_path, reference, quick_jit):
    module, numbers = reference("weights_torch")
    np.savez(tmp_path / "w.npz", **module.state_dict())
    network = vgg(3, depth=11, norm="batch", width=1, hidden=module.DENSE[1:3])
    images = jnp.asarray(module.images())
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    variables, report = weights.load(tmp_path / "w.npz", variables)
    assert report.mapping == "vgg"
    logits = quick_jit(network.apply)(variables, images)
    np.testing.assert_allclose(logits, numbers["logits"], rtol=1e-5)


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("hidden", [1, 0])
def test_hidden_layers_are_not_dropped_with_the_head(hidden, classes, tmp_path, reference):
    module, _ = reference("weights_torch")
    theirs = module.state_dict()
    dense = [name for name in theirs if name.startswith("classifier") and name.endswith("weight")]
    np.savez(tmp_path / "w.npz", **theirs)
    network = vgg(classes, depth=11, norm="batch", width=1, hidden=module.DENSE[1 : 1 + hidden])
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.asarray(module.images()))
    with pytest.raises(ValueError) as caught:
        weights.load(tmp_path / "w.npz", variables, mapping="vgg", replace_head=True)
    there = str(caught.value).split("unexpected in the file ")[1].splitlines()[0]
    for name in dense[hidden:-1]:
        assert name in there
    assert dense[-1] not in there


def test_the_caffe_kernel_is_turned_to_rgb(tmp_path):
    theirs = squeezenet_names(caffe=True)
    theirs["conv1/w"] = np.random.default_rng(0).standard_normal((96, 3, 7, 7)).astype(np.float32)
    np.savez(tmp_path / "w.npz", **theirs)
    variables = jax.eval_shape(squeezenet(7).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    variables, _ = weights.load(tmp_path / "w.npz", variables)
    kernel = variables["params"]["stem"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel[1, 2, 0, 5], theirs["conv1/w"][5, 2, 1, 2])  # red: last


def test_flattened_channels_are_put_last():
    there = np.arange(2 * 3 * 4).reshape(1, 2, 3, 4)  # one unit's weights over [C, H, W]
    here = layout.dense(there.reshape(1, -1), channels=2)
    np.testing.assert_array_equal(here[:, 0].reshape(3, 4, 2), there[0].transpose(1, 2, 0))
    np.testing.assert_array_equal(layout.dense(there.reshape(1, -1)), there.reshape(1, -1).T)


def test_a_transposed_convolution_is_not_turned():
    # By definition a single pixel of 1 in channel c becomes PyTorch's weight [c] itself.
    weight = np.random.default_rng(0).standard_normal((2, 3, 2, 4)).astype(np.float32)
    layer = ConvTranspose(3, (2, 4), strides=2, use_bias=False)
    variables = {"params": {"kernel": jnp.asarray(layout.transposed_convolution(weight))}}
    out = layer.apply(variables, jnp.zeros((1, 1, 1, 2)).at[0, 0, 0, 1].set(1))
    np.testing.assert_allclose(out[0], weight[1].transpose(1, 2, 0), rtol=1e-6)
