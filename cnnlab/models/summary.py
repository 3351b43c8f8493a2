"""What a network is made of: shapes, parameters, multiply-adds, receptive field by stage."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.extend import core

from cnnlab.models.network import Network


@dataclasses.dataclass(frozen=True)
class StageSummary:
    """One row of the table.

    Attributes:
      name: of the stage.
      output_shape: of one example, without the batch axis.
      parameters: trainable numbers in the stage.
      multiply_adds: of its convolutions and dense layers, for one example.
      receptive_field: ``(height, width)`` in pixels of the input that one unit in the middle of the
        output depends on; as large as the image where it sees everything.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Summary:
    """The table of a network; ``str`` renders it."""

    input_shape: tuple[int, ...]
    stages: tuple[StageSummary, ...]

    @property
    def parameters(self) -> int:
        """Trainable numbers in the whole network."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the whole network for one example."""
        return sum(stage.multiply_adds for stage in self.stages)

    def __str__(self) -> str:
        """The table as text."""
        rows = [("stage", "output", "parameters", "multiply-adds", "receptive field")]
        rows.append(("input", _times(self.input_shape), "", "", ""))
        for stage in self.stages:
            rows.append(
                (
                    stage.name,
                    _times(stage.output_shape),
                    f"{stage.parameters:,}",
                    f"{stage.multiply_adds:,}",
                    _times(stage.receptive_field),
                )
            )
        rows.append(("total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", ""))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = []
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)


def summary(network: Network, image_shape: tuple[int, int, int]) -> Summary:
    """Tabulates ``network`` for images of ``image_shape``.

    Nothing is derived from formulas that a layer might not obey: shapes and multiply-adds are read
    from the traced computation, and the receptive field is measured, by finding out which pixels
    change the unit in the middle of the output when no weight is negative and nothing cancels.

    Args:
      network: the row of stages.
      image_shape: ``(H, W, C)``.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), images)
    averaging = jax.tree_util.tree_map_with_path(_averaging, shapes)
    height, width, _ = image_shape
    rows = _probe(image_shape, axis=0)
    columns = _probe(image_shape, axis=1)
    stages = []
    x = images
    for name in network.names:
        stage = _run(network, name)
        y = jax.eval_shape(stage, shapes, x)
        rows, columns = _changed(stage(averaging, rows)), _changed(stage(averaging, columns))
        field = (_extent(rows, height), _extent(columns, width))
        parameters = sum(
            math.prod(p.shape) for p in jax.tree.leaves(shapes["params"].get(name, {}))
        )
        adds = multiply_adds(stage, shapes, x)
        stages.append(StageSummary(name, y.shape[1:], parameters, adds, field))
        x = y
    return Summary(tuple(image_shape), tuple(stages))


def multiply_adds(function: Any, *args: Any) -> int:
    """Multiply-adds of the convolutions and matrix products in ``function(*args)``.

    Args:
      function: any traceable function.
      *args: arrays or shapes; for one example, give a batch of one.
    """
    return multiply_adds_of(jax.make_jaxpr(function)(*args).jaxpr)


def _run(network: Network, name: str) -> Any:
    return lambda variables, x: network.apply(variables, x, start=name, stop=name)


def _probe(image_shape: tuple[int, int, int], axis: int) -> jax.Array:
    """An image of zeros, then one for each line along ``axis`` that is one on this line only."""
    size = image_shape[axis]
    images = np.zeros((1 + size, *image_shape), np.float32)
    for i in range(size):
        images[(1 + i, slice(None), i) if axis else (1 + i, i)] = 1
    return jnp.asarray(images)


def _averaging(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """Variables with which layers take means: what is zero stays zero, what is not stays small."""
    name = getattr(path[-1], "key", None)
    if name == "kernel":
        return jnp.full(leaf.shape, 1 / math.prod(leaf.shape[:-1]), leaf.dtype)
    return jnp.full(leaf.shape, 1 if name in ("scale", "var") else 0, leaf.dtype)


def _changed(outputs: jax.Array) -> jax.Array:
    """One where an output differs from that for the image of zeros, zero elsewhere."""
    return (outputs != outputs[:1]).astype(jnp.float32)


def _extent(outputs: jax.Array, size: int) -> int:
    middle = np.asarray(outputs)[1:]
    if middle.ndim == 4:
        middle = middle[:, middle.shape[1] // 2, middle.shape[2] // 2]
    else:
        middle = middle[:, middle.shape[1] // 2]
    seen = np.flatnonzero(middle.reshape(size, -1).any(axis=1))
    return int(seen[-1] - seen[0] + 1) if seen.size else 0


def multiply_adds_of(jaxpr: core.Jaxpr) -> int:
    """Multiply-adds of a computation that was traced; a loop of unknown length counts once."""
    total = 0
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "conv_general_dilated":
            kernel, features = _shape(eqn.invars[1]), eqn.params["dimension_numbers"].rhs_spec[0]
            total += math.prod(_shape(eqn.outvars[0])) * (math.prod(kernel) // kernel[features])
        elif name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            left = _shape(eqn.invars[0])
            total += math.prod(_shape(eqn.outvars[0])) * math.prod(left[i] for i in contracted)
        elif name == "scan":
            total += eqn.params["length"] * multiply_adds_of(eqn.params["jaxpr"].jaxpr)
        else:
            # A platform may reach the same result by a longer way; of other choices, the longest.
            choose = min if eqn.params.get("branches_platforms") else max
            total += choose((multiply_adds_of(inner) for inner in _inner(eqn)), default=0)
    return total


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _inner(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
    """The jaxprs that an equation holds: one for a call, one a branch for a choice."""
    found = []
    for value in eqn.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, core.ClosedJaxpr):
                found.append(each.jaxpr)
            elif isinstance(each, core.Jaxpr):
                found.append(each)
    return found


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
