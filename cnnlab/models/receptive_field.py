"""The pixels that a unit depends on, followed through a traced computation.

Every pixel is labelled with a number, its row for instance. Of each array the computation then has,
in the place of its values, the largest label among the pixels that an entry depends on: elementwise
operations take the maximum of their operands, sums and products that of an axis, convolutions and
pooling that of a window. With rows and columns, and both of them negative, the labels of a unit
give the first and last row and column of its field. No value is computed, no formula assumed.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend import core

Labels = np.ndarray | None
"""int32, of the shape of an array; None for one that does not depend on the image."""

_NONE = np.iinfo(np.int32).min  # the label of an entry that depends on no pixel


def pixel_labels(image_shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Row, -row, column and -column of every pixel, ``[1, H, W, C]`` each."""
    height, width, _ = image_shape
    row, column = np.arange(height, dtype=np.int32), np.arange(width, dtype=np.int32)
    row, column = row[:, None, None], column[:, None]
    return [np.broadcast_to(x, (1, *image_shape)) for x in (row, -row, column, -column)]


def middle_field(labels: Sequence[Labels]) -> tuple[int, int]:
    """Height and width of the field of the unit in the middle, over all channels.

    Args:
      labels: of one output ``[1, h, w, C]`` or ``[1, D]``, for the four of ``pixel_labels``.
    """
    largest = []
    for x in labels:
        if x is None:
            return 0, 0
        middle = [size // 2 for size in (x.shape[1:3] if x.ndim == 4 else x.shape[1:2])]
        largest.append(int(x[(0, *middle)].max()))
    bottom, top, right, left = largest
    return max(0, bottom + top + 1), max(0, right + left + 1)


def follow(jaxpr: core.Jaxpr, inputs: Sequence[Labels]) -> list[Labels]:
    """The labels of the outputs of a traced computation, from those of its inputs."""
    known = dict(zip(jaxpr.invars, inputs, strict=True))

    def labels(variable: Any) -> Labels:
        return None if isinstance(variable, core.Literal) else known.get(variable)

    for eqn in jaxpr.eqns:
        operands = [labels(variable) for variable in eqn.invars]
        if any(x is not None for x in operands):
            known.update(zip(eqn.outvars, _outputs(eqn, operands), strict=True))
    return [labels(variable) for variable in jaxpr.outvars]


def inner_jaxprs(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
    """The computations that an equation holds: one for a call, one for each branch of a choice."""
    values = (v for p in eqn.params.values() for v in (p if isinstance(p, tuple | list) else (p,)))
    held = (v for v in values if isinstance(v, core.ClosedJaxpr | core.Jaxpr))
    return [v.jaxpr if isinstance(v, core.ClosedJaxpr) else v for v in held]


def _outputs(eqn: core.JaxprEqn, operands: list[Labels]) -> list[Labels]:
    name = eqn.primitive.name
    if name in _CALLS or (name == "cond" and operands[0] is None):
        inner = inner_jaxprs(eqn)
        # A platform chooses between ways to the same result, of which the last is the plain one.
        branches = inner[-1:] if eqn.params.get("branches_platforms") else inner
        ways = [follow(each, operands[len(operands) - len(each.invars) :]) for each in branches]
        return [_largest(each) for each in zip(*ways, strict=True)]
    if name in _ELEMENTWISE:
        return [np.broadcast_to(_largest(operands), _shape(eqn.outvars[0]))]
    result = _RULES[name](eqn, *operands) if name in _RULES else None
    if result is not None:
        return [result]
    # Everything may depend on everything else.
    largest = max(x.max(initial=_NONE) for x in operands if x is not None)
    return [np.broadcast_to(np.int32(largest), _shape(variable)) for variable in eqn.outvars]


def _largest(arrays: Sequence[Labels]) -> Any:
    dependent = [x for x in arrays if x is not None]
    return functools.reduce(np.maximum, dependent) if dependent else None


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


# Rules: the labels of the output, or None where there is no rule for these operands ---------------


def _windows(
    x: np.ndarray, axis: int, size: int, step: int, pads: Sequence[int], spread: int, dilation: int
) -> np.ndarray:
    """The largest label in each window along an axis.

    ``spread`` is the distance of neighbours of the axis, ``dilation`` that of places of a window.
    """
    length = (x.shape[axis] - 1) * spread + 1
    count = (length + sum(pads) - (size - 1) * dilation - 1) // step + 1
    place = np.arange(count) * step - pads[0] + np.arange(size)[:, None] * dilation
    inside = (place >= 0) & (place < length) & (place % spread == 0)
    outside = np.full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), _NONE, np.int32)
    padded = np.concatenate([x, outside], axis)
    entries = np.where(inside, place // spread, x.shape[axis])
    return functools.reduce(np.maximum, (padded.take(each, axis) for each in entries))


def _convolution(eqn: core.JaxprEqn, image: Labels, kernel: Labels) -> Labels:
    params, kernel_shape = eqn.params, _shape(eqn.invars[1])
    if image is None or kernel is not None or params["batch_group_count"] != 1:
        return None
    layout, groups = params["dimension_numbers"], params["feature_group_count"]
    x = image.transpose(layout.lhs_spec)  # [N, C, ...]
    x = x.reshape(len(x), groups, x.shape[1] // groups, *x.shape[2:]).max(2)
    options = ("window_strides", "padding", "lhs_dilation", "rhs_dilation")
    each_axis = zip(*(params[name] for name in options), strict=True)
    for axis, option in enumerate(each_axis, start=2):
        x = _windows(x, axis, kernel_shape[layout.rhs_spec[axis]], *option)
    features = kernel_shape[layout.rhs_spec[0]]
    wide = (len(x), groups, features // groups, *x.shape[2:])
    x = np.broadcast_to(x[:, :, None], wide).reshape(len(x), features, *x.shape[2:])
    return x.transpose(np.argsort(layout.out_spec))


def _reduce_window(eqn: core.JaxprEqn, x: np.ndarray, *_: Labels) -> np.ndarray:
    options = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
    each_axis = zip(*(eqn.params[name] for name in options), strict=True)
    for axis, (size, step, pads, spread, dilation) in enumerate(each_axis):
        if (size, step, pads, spread) != (1, 1, (0, 0), 1):
            x = _windows(x, axis, size, step, pads, spread, dilation)
    return x


def _pad(eqn: core.JaxprEqn, x: Labels, value: Labels) -> Labels:
    if x is None or value is not None:
        return None
    for axis, (low, high, between) in enumerate(eqn.params["padding_config"]):
        x = _windows(x, axis, 1, 1, (low, high), between + 1, 1)
    return x


def _product(eqn: core.JaxprEqn, *operands: Labels) -> np.ndarray:
    out, parts = _shape(eqn.outvars[0]), []
    dimensions = zip(operands, *eqn.params["dimension_numbers"], strict=True)
    for side, (x, contracted, batch) in enumerate(dimensions):
        if x is not None:
            free = [axis for axis in range(x.ndim) if axis not in (*contracted, *batch)]
            kept = x.transpose(*batch, *free, *contracted).max(
                tuple(range(x.ndim - len(contracted), x.ndim)), initial=_NONE
            )
            ones = (1,) * (len(out) - kept.ndim)
            split = kept.ndim if side == 0 else len(batch)  # free axes of the left come first
            parts.append(kept.reshape(*kept.shape[:split], *ones, *kept.shape[split:]))
    return np.broadcast_to(_largest(parts), out)


def _broadcast(eqn: core.JaxprEqn, x: np.ndarray) -> np.ndarray:
    out = _shape(eqn.outvars[0])
    shape = [1] * len(out)
    for size, place in zip(x.shape, eqn.params["broadcast_dimensions"], strict=True):
        shape[place] = size
    return np.broadcast_to(x.reshape(shape), out)


def _slice(eqn: core.JaxprEqn, x: np.ndarray) -> np.ndarray:
    start, stop, step = (eqn.params[n] for n in ("start_indices", "limit_indices", "strides"))
    return x[tuple(map(slice, start, stop, step or (1,) * x.ndim))]


def _join(function: Any, axis: str, eqn: core.JaxprEqn, *operands: Labels) -> np.ndarray:
    shapes = map(_shape, eqn.invars)
    empty = (np.broadcast_to(np.int32(_NONE), shape) for shape in shapes)
    parts = [e if x is None else x for x, e in zip(operands, empty, strict=True)]
    return function(parts, axis=eqn.params[axis])


_RULES: dict[str, Callable[..., Labels]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    "pad": _pad,
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "concatenate": functools.partial(_join, np.concatenate, "dimension"),
    "stack": functools.partial(_join, np.stack, "axis"),
    "rev": lambda eqn, x: np.flip(x, eqn.params["dimensions"]),
    "transpose": lambda eqn, x: x.transpose(eqn.params["permutation"]),
    **dict.fromkeys(("reshape", "squeeze"), lambda eqn, x: x.reshape(_shape(eqn.outvars[0]))),
    **dict.fromkeys(
        ("reduce_window_sum", "reduce_window_max", "reduce_window_min"), _reduce_window
    ),
    **dict.fromkeys(
        ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin"),
        lambda eqn, x: x.max(tuple(eqn.params["axes"]), initial=_NONE),
    ),
}

_CALLS = "jit closed_call checkpoint custom_jvp_call custom_vjp_call".split()
_ELEMENTWISE = """
    abs add and atan2 cbrt ceil clamp convert_element_type copy cos cosh div eq erf erf_inv erfc exp
    exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg not or
    pow reduce_precision rem round rsqrt select_n sign sin sinh sqrt square sub tan tanh xor
""".split()
