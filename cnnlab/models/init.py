"""Initialisations by name, for every network.

    start = init.create("he", fan="fan_out")
    variables = start(network, key, images)

| name | kernels | source |
| --- | --- | --- |
| default | as the layers themselves declare | |
| constant | all of one value: every unit of a layer stays the same | |
| gaussian | normal with one standard deviation, 0.01 | |
| lecun | normal, variance 1 / fan_in | LeCun et al., Efficient BackProp, 1998 |
| glorot | uniform, variance 2 / (fan_in + fan_out) | Glorot and Bengio, AISTATS 2010 |
| he | normal, variance 2 / fan_in | He et al., ICCV 2015 |
| orthogonal | orthonormal rows or columns, times a gain | Saxe et al., ICLR 2014 |
| random_walk | normal, the gain that keeps log-norms unbiased | Sussillo and Abbott, 2014 |
| fixup | residual branches that start as zero | Zhang et al., ICLR 2019 |
| lsuv | orthonormal, then unit variance of every output | Mishkin and Matas, ICLR 2016 |
| data | unit variance of every channel, equal rates | Krähenbühl et al., ICLR 2016 |
| airbench | that of the speed-run network | Jordan, 2024 |
| xavier | another name for glorot | |
| kaiming | another name for he | |
| krahenbuhl, data_dependent | other names for data | |

Biases start at zero; normalisations start as fresh ones, and so do parameters that are neither.
"""

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax

from cnnlab.models import init_data, init_kernels
from cnnlab.models.init_kernels import Draw, Variables
from cnnlab.models.network import Network
from cnnlab.spelling import unknown

_MAKERS: dict[str, Callable[..., Draw]] = {
    "default": init_kernels.default,
    "constant": init_kernels.constant,
    "gaussian": init_kernels.gaussian,
    "lecun": init_kernels.lecun,
    "glorot": init_kernels.glorot,
    "he": init_kernels.he,
    "orthogonal": init_kernels.orthogonal,
    "random_walk": init_kernels.random_walk,
    "fixup": init_kernels.fixup,
    "lsuv": init_data.lsuv,
    "data": init_data.data,
    "airbench": init_data.airbench,
}

_ALIASES = {
    "kaiming": "he",
    "xavier": "glorot",
    "krahenbuhl": "data",
    "data_dependent": "data",
}


@dataclasses.dataclass(frozen=True)
class Init:
    """One way to start a network. Made by ``create``; equal ones compare and hash as equal.

    Attributes:
      name: one of ``names()``, also where ``create`` got another name for it.
      options: ``(name, value)`` of all its options, in the order of their declaration.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def examples(self) -> int:
        """The number of images it looks at; with 1, only their shape matters."""
        return dict(self.options).get("examples", 1)

    def __call__(self, network: Network, key: jax.Array, images: jax.Array) -> Variables:
        """Fresh variables for ``network``; pure, to be jitted or mapped over keys.

        Args:
          network: the row of stages.
          key: every layer draws from its own key, the ``fold_in`` of its path, so that its draw
            depends on no other layer.
          images: float ``[N, H, W, C]``, prepared as the network is to see them; N at least
            ``examples`` where the data matter.

        Returns:
          ``{"params": ..., "batch_stats": ...}`` as ``network.init`` gives them.

        Raises:
          ValueError: if the network is not one that it can start.
        """
        return _MAKERS[self.name](**dict(self.options))(network, key, images)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.options)})"


def names() -> tuple[str, ...]:
    """The names that ``create`` knows, without the other names for the same."""
    return tuple(_MAKERS)


@functools.cache
def defaults(name: str) -> Mapping[str, Any]:
    """The options of an initialisation and their defaults, read-only.

    Raises:
      ValueError: for an unknown name.
    """
    parameters = inspect.signature(_MAKERS[_canonical(name)]).parameters.values()
    return types.MappingProxyType({each.name: each.default for each in parameters})


def create(name: str, **options: Any) -> Init:
    """Makes the initialisation called ``name``.

    Args:
      name: one of ``names()``, or another name of the table above.
      **options: of the function of that name in ``init_kernels`` or ``init_data``, such as
        ``std=0.05`` of "gaussian", ``fan="fan_out"`` of "he", ``examples=64`` of "lsuv".

    Raises:
      ValueError: for an unknown name or option, or a value out of range.

    Example:
      >>> variables = create("lsuv", examples=64)(network, jax.random.key(0), images)
    """
    name = _canonical(name)
    known = defaults(name)
    for option in options:
        if option not in known:
            raise ValueError(unknown(f"option of initialisation {name!r}:", option, known))
    chosen = {**known, **options}
    _MAKERS[name](**chosen)  # checks the values
    return Init(name, tuple(chosen.items()))


def _canonical(name: str) -> str:
    name = _ALIASES.get(name, name)
    if name not in _MAKERS:
        raise ValueError(unknown("initialisation", name, [*_MAKERS, *_ALIASES]))
    return name
