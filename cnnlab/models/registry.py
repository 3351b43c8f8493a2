"""The zoo: a name and overrides make a network."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from cnnlab.models.airbench import airbench
from cnnlab.models.alexnet import alexnet, alexnet_small
from cnnlab.models.autoencoder import conv_autoencoder, dense_autoencoder
from cnnlab.models.lenet import lenet5, lenet5_1998
from cnnlab.models.network import Network
from cnnlab.models.perceptron import linear, mlp
from cnnlab.models.resnet import resnet
from cnnlab.models.resnet_cifar import resnet_cifar
from cnnlab.models.squeezenet import squeezenet
from cnnlab.models.unet import unet
from cnnlab.models.vgg import vgg, vgg_small
from cnnlab.spelling import unknown


def _depths(
    family: Callable[..., Network], name: str, depths: tuple[int, ...], **fixed: Any
) -> dict[str, Callable[..., Network]]:
    return {name.format(d): functools.partial(family, depth=d, **fixed) for d in depths}


_CIFAR = (8, 20, 32, 44, 56, 110)
_VGG = (11, 13, 16, 19)

_MAKERS: dict[str, Callable[..., Network]] = {
    "linear": linear,
    "mlp": mlp,
    "lenet5": lenet5,
    "lenet5_1998": lenet5_1998,
    "alexnet": alexnet,
    "alexnet_torchvision": functools.partial(
        alexnet, widths=(64, 192, 384, 256, 256), norm="none", stem_padding=2
    ),
    "alexnet_small": alexnet_small,
    **_depths(vgg, "vgg{}", _VGG),
    **_depths(vgg_small, "vgg{}_small", _VGG),
    **_depths(resnet_cifar, "resnet{}", _CIFAR),
    **_depths(resnet_cifar, "plain{}", _CIFAR, shortcut="none"),
    **_depths(resnet, "resnet{}", (18, 34, 50, 101, 152)),
    **_depths(resnet, "plain{}", (18, 34), shortcut="none"),
    "squeezenet": squeezenet,
    "airbench94": airbench,
    "unet": unet,
    "conv_autoencoder": conv_autoencoder,
    "dense_autoencoder": dense_autoencoder,
}


def names() -> tuple[str, ...]:
    """The names that ``create`` knows."""
    return tuple(_MAKERS)


def create(name: str, num_classes: int | None = None, **overrides: Any) -> Network:
    """Makes the network called ``name``.

    Args:
      name: one of ``names()``.
      num_classes: the width of the last layer, >= 1; the family's own (10, of a U-Net 2) where
        None. Autoencoders have none, but ``channels=``, those of the images.
      **overrides: further arguments of the family, such as ``width=32``, ``norm="group"`` or
        ``dtype=jnp.bfloat16``.

    Raises:
      ValueError: for an unknown name or override; the nearest known ones are named.

    Example:
      >>> network = create("resnet20", num_classes=100, shortcut="B")
      >>> variables = network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
      >>> features = network.apply(variables, images, stop="stage2")
    """
    known = options(name)
    for override in overrides:
        if override not in known:
            raise ValueError(unknown(f"option of model {name!r}:", override, known))
    if num_classes is None:
        return _MAKERS[name](**overrides)
    if "channels" in known:
        raise ValueError(
            f"{name} gives images and no classes: leave num_classes={num_classes} out, and say how "
            "many channels the images have, channels=."
        )
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}.")
    return _MAKERS[name](num_classes, **overrides)


def options(name: str) -> dict[str, Any]:
    """The overrides that the network called ``name`` takes, and their defaults.

    Raises:
      ValueError: for an unknown name.
    """
    if name not in _MAKERS:
        raise ValueError(unknown("model", name, _MAKERS))
    maker = _MAKERS[name]
    fixed = {"num_classes", *(maker.keywords if isinstance(maker, functools.partial) else ())}
    parameters = inspect.signature(maker).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in fixed}
