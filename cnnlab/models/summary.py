"""What a network is made of: shapes, parameters, multiply-adds, receptive field by stage."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.extend import core

from cnnlab.models.folded import Folded, fold, full
from cnnlab.models.folded_evaluation import evaluate
from cnnlab.models.network import Network, activations

PIXELS = 16_000_000
"""How many pixels of probing images go through a network together: a bound on the memory."""


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
    change the unit in the middle of the output when no weight is negative and nothing cancels. A
    change that a rectifier then sets to zero is none: of group, layer and instance normalisation
    before a ReLU not all of the whole image is seen that they average over.

    Args:
      network: the row of stages.
      image_shape: ``(H, W, C)``.

    Raises:
      TooSmallError: if a stage shrinks the images to nothing.
    """
    x: Any = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    fields = _receptive_fields(network, variables, image_shape)
    stages = []
    for name, field in zip(network.names, fields, strict=True):
        jaxpr, x = _traced(network, name, variables, x)
        parameters = sum(
            math.prod(p.shape) for p in jax.tree.leaves(variables["params"].get(name, {}))
        )
        adds = multiply_adds_of(jaxpr.jaxpr)
        stages.append(StageSummary(name, activations(x).shape[1:], parameters, adds, field))
    return Summary(tuple(image_shape), tuple(stages))


def multiply_adds(function: Any, *args: Any) -> int:
    """Multiply-adds of the convolutions and matrix products in ``function(*args)``.

    Args:
      function: any traceable function.
      *args: arrays or shapes; for one example, give a batch of one.
    """
    return multiply_adds_of(jax.make_jaxpr(function)(*args).jaxpr)


def _traced(network: Network, name: str, variables: Any, x: Any) -> tuple[core.ClosedJaxpr, Any]:
    """The computation of one stage, and the shapes of what it gives."""

    def stage(variables: Any, x: Any) -> Any:
        return network.apply(variables, x, start=name, stop=name)

    return jax.make_jaxpr(stage, return_shape=True)(_of_stage(variables, name), x)


def _of_stage(variables: Any, name: str) -> Any:
    return {kind: {name: tree[name]} for kind, tree in variables.items() if name in tree}


def _receptive_fields(
    network: Network, variables: Any, image_shape: tuple[int, int, int]
) -> list[tuple[int, int]]:
    """Height and width for every stage, from images that have one line each."""
    height, width, _ = image_shape
    parts = -(-max(height, width) * height * width // PIXELS)
    lines = -(-max(height, width) // parts)
    x: Any = jax.ShapeDtypeStruct((1 + lines, *image_shape), jnp.float32)
    averaging = jax.tree_util.tree_map_with_path(_averaging, variables)
    stages = []
    for name in network.names:
        jaxpr, x = _traced(network, name, variables, x)
        weights = jax.tree.leaves(_of_stage(averaging, name))
        stages.append((jaxpr, weights, jax.tree.structure(x)))
    extents = []
    for axis, size in enumerate((height, width)):
        seen: list[list[np.ndarray]] = [[] for _ in stages]
        for start in range(0, size, lines):
            outputs: Any = _probe(image_shape, axis, range(start, start + lines))
            for (jaxpr, weights, structure), found in zip(stages, seen, strict=True):
                leaves = evaluate(jaxpr.jaxpr, jaxpr.consts, *weights, *jax.tree.leaves(outputs))
                outputs = _changed(jax.tree.unflatten(structure, leaves))
                found.append(_middle(outputs[0] if isinstance(outputs, tuple) else outputs))
        extents.append([_extent(np.concatenate(found)) for found in seen])
    return list(zip(*extents, strict=True))


def _probe(image_shape: tuple[int, int, int], axis: int, lines: Sequence[int]) -> Folded:
    """An image of zeros, then one for each of ``lines`` along ``axis`` that is one on it only.

    A line beyond the edge leaves zeros.
    """
    size = image_shape[axis]
    images = np.zeros((1 + len(lines), size), np.float32)
    images[1:] = np.arange(size) == np.asarray(lines)[:, None]
    each = fold(images)
    index = [each.index[0], *full(image_shape, 0, np.float32).index]
    index[1 + axis] = each.index[1]
    shape = [-1, *(size if i == axis else 1 for i in range(3))]
    return Folded(images.reshape(shape), tuple(index))


def _averaging(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> Folded:
    """Variables with which layers take means: what is zero stays zero, what is not stays small."""
    name = str(getattr(path[-1], "key", ""))
    if name.startswith(("bias", "mean")):
        value = 0.0
    elif name in ("scale", "var") or len(leaf.shape) < 2:
        value = 1.0
    else:
        value = 1 / math.prod(leaf.shape[:-1])
    return full(leaf.shape, value, leaf.dtype)


def _changed(outputs: Any) -> Any:
    """One where an output differs from that for the image of zeros, zero elsewhere.

    What travels behind the activations goes on as it is: it changes where they did.
    """
    if isinstance(outputs, tuple):
        return (_changed(outputs[0]), *outputs[1:])
    x = outputs.unfolded(0)
    return Folded((x.array != x.array[:1]).astype(np.float32), x.index)


def _middle(outputs: Folded) -> np.ndarray:
    """Whether the unit in the middle changed, for each line: [lines]."""
    axes = (1, 2) if len(outputs.shape) == 4 else (1,)
    at = tuple(outputs.index[axis][outputs.shape[axis] // 2] for axis in axes)
    middle = outputs.array[(slice(1, None), *at)]
    return np.any(middle.reshape(len(middle), -1), axis=1, keepdims=True)[:, 0]


def _extent(changed: np.ndarray) -> int:
    seen = np.flatnonzero(changed)
    return int(seen[-1] - seen[0] + 1) if seen.size else 0


def multiply_adds_of(jaxpr: core.Jaxpr) -> int:
    """Multiply-adds of a computation that was traced; a loop of unknown length counts once."""
    total = 0
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "conv_general_dilated":
            total += _of_convolution(eqn)
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


def _of_convolution(eqn: core.JaxprEqn) -> int:
    """Every output meets the kernel of its map; of a spread input, every input every map's."""
    image, kernel = _shape(eqn.invars[0]), _shape(eqn.invars[1])
    if max(eqn.params["lhs_dilation"]) > 1:  # zeros between the inputs are no work
        inputs = kernel[eqn.params["dimension_numbers"].rhs_spec[1]]
        return math.prod(image) * math.prod(kernel) // (inputs * eqn.params["feature_group_count"])
    features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return math.prod(_shape(eqn.outvars[0])) * (math.prod(kernel) // features)


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
