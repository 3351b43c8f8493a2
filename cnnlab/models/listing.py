"""The zoo as a table to read: every network by its family, or one of them with its options."""

import functools
import inspect
from typing import Any

import jax
from jax import numpy as jnp

from cnnlab.models.convolution import TooSmallError
from cnnlab.models.registry import create, maker, names, options

_SHAPES = ((28, 28, 1), (32, 32, 3), (224, 224, 3))
"""The usual images, MNIST's, CIFAR's and ImageNet's, of which a size is told."""


def zoo_lines() -> list[str]:
    """The names of the zoo by family, each family with the first line of its documentation."""
    families: dict[Any, list[str]] = {}
    for name in names():
        families.setdefault(_family(name), []).append(name)
    lines = []
    for family, members in families.items():
        about = (inspect.getdoc(family) or "no description").partition("\n")[0]
        lines += [about.replace("``", ""), f"  {' '.join(members)}", ""]
    return lines[:-1]


def model_lines(name: str) -> list[str]:
    """What a network is, its options with their defaults, and how many parameters it has.

    Raises:
      ValueError: for an unknown name.
    """
    chosen = options(name)
    about = (inspect.getdoc(_family(name)) or "").partition("\n")[0].replace("``", "")
    shown = " ".join(f"{option}={value}" for option, value in chosen.items())
    lines = [f"{name}: {about}", f"  options, by their defaults: {shown.replace(', ', ',')}"]
    sizes = {"x".join(map(str, shape)): count for shape, count in _parameters(name).items()}
    counts = ", ".join(f"{count:,} for images of {shape}" for shape, count in sizes.items())
    return [*lines, f"  parameters: {counts}"]


def _family(name: str) -> Any:
    made = maker(name)
    return made.func if isinstance(made, functools.partial) else made


def _parameters(name: str) -> dict[tuple[int, int, int], int]:
    """How many parameters a network has for the usual images, those of them that it takes."""
    network, counts = create(name), {}
    for shape in _SHAPES:
        images = jnp.zeros((1, *shape))
        try:
            variables = jax.eval_shape(network.init, jax.random.key(0), images)
        except (TooSmallError, ValueError):  # too small, or of other channels
            continue
        counts[shape] = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return counts
