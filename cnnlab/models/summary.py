"""The table of a network: shapes, parameters, multiply-adds, receptive field by stage."""

import dataclasses
import math
from typing import Any

import jax
from jax import numpy as jnp
from jax.extend import core

from cnnlab.models import receptive_field
from cnnlab.models.network import Network, activations, as_network


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

    Nothing is derived from formulas that a layer might not obey: shapes, multiply-adds and the
    pixels that the unit in the middle depends on are read from the traced computation. Group, layer
    and instance normalisation average over the whole image, so it is the field of all that follows.

    Args:
      network: the row of stages; of any other Linen module as ``as_network`` makes it.
      image_shape: ``(H, W, C)``.

    Raises:
      TooSmallError: if a stage shrinks the images to nothing.
    """
    network = as_network(network)
    x: Any = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    labels: list[Any] = [[each] for each in receptive_field.pixel_labels(image_shape)]
    stages = []
    for name in network.names:
        jaxpr, x = _trace_stage(network, name, variables, x)
        labels = [_follow_stage(jaxpr, each) for each in labels]
        field = receptive_field.middle_field([each[0] for each in labels])
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


def _trace_stage(
    network: Network, name: str, variables: Any, x: Any
) -> tuple[core.ClosedJaxpr, Any]:
    """The computation of one stage, and the shapes of its output."""

    def stage(variables: Any, x: Any) -> Any:
        return network.apply(variables, x, start=name, stop=name)

    return jax.make_jaxpr(stage, return_shape=True)(_stage_variables(variables, name), x)


def _follow_stage(
    jaxpr: core.ClosedJaxpr, inputs: list[receptive_field.Labels]
) -> list[receptive_field.Labels]:
    """The labels of the outputs of a stage; its variables do not depend on the image."""
    variables = [None] * (len(jaxpr.jaxpr.invars) - len(inputs))
    return receptive_field.follow(jaxpr.jaxpr, [*variables, *inputs])


def _stage_variables(variables: Any, name: str) -> Any:
    return {kind: {name: tree[name]} for kind, tree in variables.items() if name in tree}


def multiply_adds_of(jaxpr: core.Jaxpr) -> int:
    """Multiply-adds of a computation that was traced; a loop of unknown length counts once."""
    total = 0
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "conv_general_dilated":
            total += _convolution_cost(eqn)
        elif name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            left = _shape(eqn.invars[0])
            total += math.prod(_shape(eqn.outvars[0])) * math.prod(left[i] for i in contracted)
        elif name == "scan":
            total += eqn.params["length"] * multiply_adds_of(eqn.params["jaxpr"].jaxpr)
        else:
            # A platform may reach the same result by a longer way, or by products of images and
            # numbers, which are not counted; of other choices, the longest.
            choose = min if eqn.params.get("branches_platforms") else max
            counts = map(multiply_adds_of, receptive_field.inner_jaxprs(eqn))
            total += choose(filter(None, counts), default=0)
    return total


def _convolution_cost(eqn: core.JaxprEqn) -> int:
    """Every output meets the kernel of its map; of a spread input, every input every map's."""
    image, kernel = _shape(eqn.invars[0]), _shape(eqn.invars[1])
    if max(eqn.params["lhs_dilation"]) > 1:  # zeros between the inputs are no work
        inputs = kernel[eqn.params["dimension_numbers"].rhs_spec[1]]
        return math.prod(image) * math.prod(kernel) // (inputs * eqn.params["feature_group_count"])
    features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return math.prod(_shape(eqn.outvars[0])) * (math.prod(kernel) // features)


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
