"""The zoo: a name and overrides make a network."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from cnnlab.models.lenet import lenet5
from cnnlab.models.network import Network
from cnnlab.models.perceptron import linear, mlp
from cnnlab.models.resnet_cifar import resnet_cifar
from cnnlab.spelling import unknown

_DEPTHS = (8, 20, 32, 44, 56, 110)

_MAKERS: dict[str, Callable[..., Network]] = {
    "linear": linear,
    "mlp": mlp,
    "lenet5": lenet5,
    **{f"resnet{depth}": functools.partial(resnet_cifar, depth=depth) for depth in _DEPTHS},
    **{
        f"plain{depth}": functools.partial(resnet_cifar, depth=depth, shortcut="none")
        for depth in _DEPTHS
    },
}


def names() -> tuple[str, ...]:
    """The names that ``create`` knows."""
    return tuple(_MAKERS)


def create(name: str, num_classes: int = 10, **overrides: Any) -> Network:
    """Makes the network called ``name``.

    Args:
      name: one of ``names()``.
      num_classes: the width of the last layer, >= 1.
      **overrides: further arguments of the family, such as ``width=32``, ``shortcut="B"`` or
        ``dtype=jnp.bfloat16``.

    Raises:
      ValueError: for an unknown name or override; the nearest known ones are named.

    Example:
      >>> network = create("resnet20", num_classes=100, shortcut="B")
      >>> variables = network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
      >>> features = network.apply(variables, images, stop="stage2")
    """
    if name not in _MAKERS:
        raise ValueError(unknown("model", name, _MAKERS))
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}.")
    maker = _MAKERS[name]
    fixed = set(maker.keywords) if isinstance(maker, functools.partial) else set()
    known = [
        p.name
        for p in inspect.signature(maker).parameters.values()
        if p.name != "num_classes" and p.name not in fixed
    ]
    for override in overrides:
        if override not in known:
            raise ValueError(unknown(f"option of model {name!r}:", override, known))
    return maker(num_classes, **overrides)
