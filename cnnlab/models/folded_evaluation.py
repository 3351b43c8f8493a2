"""Traced computations on folded arrays (folded.py), by one rule for every operation.

The result of every operation is the one that it has for the whole arrays, up to rounding; what is
equal there is equal here to the last bit. An operation without a rule gets the whole arrays, from
JAX as it is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from cnnlab.models.folded import (
    Folded,
    aligned,
    constant,
    distinct,
    entries_at,
    fold,
    identity,
    select,
    split,
    take,
    tidy,
    windows_of,
)


def evaluate(jaxpr: core.Jaxpr, consts: Sequence[Any], *args: Folded) -> list[Folded]:
    """The outputs of a traced computation.

    Args:
      jaxpr: as ``jax.make_jaxpr(function)(*shapes).jaxpr`` gives it.
      consts: arrays, the ``consts`` beside it.
      *args: the flat arguments.
    """
    known = dict(zip(jaxpr.constvars, (fold(const) for const in consts), strict=True))
    known.update(zip(jaxpr.invars, args, strict=True))
    used = [[v for v in eqn.invars if not isinstance(v, core.Literal)] for eqn in jaxpr.eqns]
    last = {v: i for i, each in enumerate(used) for v in each}
    last.update((v, len(used)) for v in jaxpr.outvars if not isinstance(v, core.Literal))

    def read(v: Any) -> Folded:
        is_number = isinstance(v, core.Literal)
        return fold(np.asarray(v.val, v.aval.dtype)) if is_number else known[v]

    for i, eqn in enumerate(jaxpr.eqns):
        values = [read(v) for v in eqn.invars]
        with np.errstate(all="ignore"):
            known.update(zip(eqn.outvars, _evaluate_one(eqn, values), strict=True))
        for v in used[i]:
            if last[v] == i:
                known.pop(v, None)
    return [read(v) for v in jaxpr.outvars]


def _evaluate_one(eqn: core.JaxprEqn, values: list[Folded]) -> list[Folded]:
    name = eqn.primitive.name
    if name in _CALLS:
        jaxprs = (v for v in eqn.params.values() if isinstance(v, core.ClosedJaxpr | core.Jaxpr))
        inner: Any = next(jaxprs)
        return evaluate(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), *values)
    if name == "cond":
        branches = eqn.params["branches"]
        branch = branches[min(max(int(values[0].array), 0), len(branches) - 1)]
        return evaluate(branch.jaxpr, branch.consts, *values[1:])
    if name in _ELEMENTWISE:
        return [_elementwise(eqn, values)]
    result = _RULES[name](eqn.params, *values) if name in _RULES else None
    return _unfolded(eqn, values) if result is None else [result]


def _unfolded(eqn: core.JaxprEqn, values: list[Folded]) -> list[Folded]:
    """What JAX itself makes of the whole arrays."""
    whole = (jax.numpy.asarray(value.unfolded().array) for value in values)
    found = eqn.primitive.bind(*whole, **eqn.params)
    return [fold(value) for value in (found if eqn.primitive.multiple_results else [found])]


def _elementwise(eqn: core.JaxprEqn, values: list[Folded]) -> Folded:
    arrays, index = aligned(values)
    function = _ELEMENTWISE[eqn.primitive.name]
    out: Any = eqn.outvars[0].aval
    if function is None:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        whole = (jax.numpy.asarray(np.broadcast_to(array, shape)) for array in arrays)
        return Folded(np.asarray(eqn.primitive.bind(*whole, **eqn.params)), index)
    return Folded(np.asarray(function(eqn.params, *arrays), out.dtype), index)


def _broadcast(params: dict[str, Any], x: Folded) -> Folded:
    places, shape = params["broadcast_dimensions"], params["shape"]
    index = [constant(size) for size in shape]
    kept = [1] * len(shape)
    for axis, place in enumerate(places):
        kept[place] = x.array.shape[axis]
        if len(x.index[axis]) == shape[place]:
            index[place] = x.index[axis]
    return Folded(x.array.reshape(kept), tuple(index))


def _reshape(shape: Sequence[int], x: Folded) -> Folded | None:
    """Axes are merged as far as needed and split again; what is split must be of one value."""
    if 0 in shape:
        return None
    merged, index, targets = [], [], []
    start = begin = 0
    while start < len(x.index) or begin < len(shape):
        stop, end = start + 1, begin + 1
        while (old := math.prod(x.shape[start:stop])) != (new := math.prod(shape[begin:end])):
            stop, end = (stop + 1, end) if old < new else (stop, end + 1)
        together = constant(1)
        for axis in range(start, min(stop, len(x.index))):
            together = (together[:, None] * x.array.shape[axis] + x.index[axis]).ravel()
        merged.append(math.prod(x.array.shape[start:stop]))
        index.append(together)
        targets.append(tuple(shape[begin:end]))
        start, begin = stop, end
    array = x.array.reshape(merged)
    kept: list[int] = []
    places: list[np.ndarray] = []
    for axis, target in enumerate(targets):
        if len(target) == 1:
            kept, places = [*kept, array.shape[axis]], [*places, tidy(index[axis])]
        elif array.shape[axis] == 1:
            kept, places = [*kept, *(1 for _ in target)], [*places, *map(constant, target)]
        else:
            array = array.take(index[axis], axis)
            kept, places = [*kept, *target], [*places, *map(identity, target)]
    return Folded(array.reshape(kept), tuple(places))


def _transpose(order: Sequence[int], x: Folded) -> Folded:
    return Folded(x.array.transpose(order), tuple(x.index[axis] for axis in order))


def _reduce(function: Callable[..., np.ndarray], params: dict[str, Any], x: Folded) -> Folded:
    """A sum counts every entry as often as it stands there, for the others once is enough."""
    axes, array = tuple(params["axes"]), x.array
    if function is np.sum:
        for axis in axes:
            array = array * _along(np.bincount(x.index[axis], minlength=array.shape[axis]), axis, x)
    array = np.asarray(function(array, axis=axes), x.array.dtype)
    return Folded(array, tuple(index for axis, index in enumerate(x.index) if axis not in axes))


def _along(counts: np.ndarray, axis: int, x: Folded) -> np.ndarray:
    return counts.astype(x.array.dtype).reshape(
        [-1 if i == axis else 1 for i in range(x.array.ndim)]
    )


def _slice(params: dict[str, Any], x: Folded) -> Folded:
    steps = params["strides"] or (1,) * len(x.index)
    bounds = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    return select(x, [np.arange(start, stop, step) for start, stop, step in bounds])


def _reverse(params: dict[str, Any], x: Folded) -> Folded:
    turned = params["dimensions"]
    return select(x, [np.arange(n)[:: -1 if i in turned else 1] for i, n in enumerate(x.shape)])


def _pad(params: dict[str, Any], x: Folded, value: Folded) -> Folded:
    config = params["padding_config"]
    edges = zip(x.shape, config, strict=True)
    windows = [windows_of(n, 1, 1, (low, high), 1 + between) for n, (low, high, between) in edges]
    return select(x, [window[:, 0] for window in windows], value.array)


def _concatenate(params: dict[str, Any], *values: Folded) -> Folded:
    axis = params["dimension"]
    arrays, index = aligned(values, but=axis)
    whole = list(np.broadcast_shapes(*(_without(array.shape, axis) for array in arrays)))
    parts, places, count = [], [], 0
    for array, value in zip(arrays, values, strict=True):
        parts.append(np.broadcast_to(array, (*whole[:axis], array.shape[axis], *whole[axis:])))
        places.append(value.index[axis] + count)
        count += array.shape[axis]
    joint = tidy(np.concatenate(places))
    return Folded(np.concatenate(parts, axis), (*index[:axis], joint, *index[axis + 1 :]))


def _stack(params: dict[str, Any], *values: Folded) -> Folded | None:
    axis = params["axis"]
    wider = [_reshape((*x.shape[:axis], 1, *x.shape[axis:]), x) for x in values]
    parts = [x for x in wider if x is not None]
    return _concatenate({"dimension": axis}, *parts) if len(parts) == len(wider) else None


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _reduce_window(function: Any, edge: Any, params: dict[str, Any], x: Folded) -> Folded:
    """One axis after the other, and for each only the windows that differ."""
    names = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
    options = zip(*(params[name] for name in names), strict=True)
    outside = edge(x.array.dtype)
    for axis, (size, step, pads, spread, dilation) in enumerate(options):
        if (size, step, pads, spread) != (1, 1, (0, 0), 1):
            windows = windows_of(x.shape[axis], size, step, pads, spread, dilation)
            met, index = distinct(entries_at(x, axis, windows))
            taken = (take(x, entries, axis, outside) for entries in met.T)
            x = x.replaced(axis, functools.reduce(function, taken), index)
    return x


def _dot(params: dict[str, Any], x: Folded, y: Folded) -> Folded | None:
    ((left, right), batch) = params["dimension_numbers"]
    if any(batch) or len(left) != 1:
        return None
    x = _transpose([left[0], *(i for i in range(len(x.index)) if i != left[0])], x)
    y = _transpose([right[0], *(i for i in range(len(y.index)) if i != right[0])], y)
    total: Any = 0
    for part, entry in _contracted(x, y):
        total = total + np.multiply.outer(part, entry)
    return Folded(
        total.astype(params["preferred_element_type"] or x.array.dtype),
        (*x.index[1:], *y.index[1:]),
    )


def _contracted(x: Folded, y: Folded) -> Any:
    """Pairs whose products add up to that of ``x`` and ``y``, both contracted over axis 0."""
    dtype = np.promote_types(x.array.dtype, np.float32)
    for entry in range(y.array.shape[0]):
        held, counts = np.unique(x.index[0][y.index[0] == entry], return_counts=True)
        part = x.array[held].astype(dtype)
        yield (
            (part * counts.reshape(-1, *(1,) * (part.ndim - 1)).astype(dtype)).sum(0),
            y.array[entry].astype(dtype),
        )


def _convolve(params: dict[str, Any], x: Folded, kernel: Folded) -> Folded | None:
    if params["batch_group_count"] != 1 or len(x.index) != 4:
        return None
    layout, groups = params["dimension_numbers"], params["feature_group_count"]
    batch, channel, *places = layout.lhs_spec
    x = _transpose([channel, batch, *places], x)
    feature, channel, *places = layout.rhs_spec
    kernel = _transpose([channel, feature, *places], kernel)
    if groups == 1:
        y = _convolve_group(params, x, kernel)
    else:
        shares = zip(split(x, 0, groups), split(kernel, 1, groups), strict=True)
        parts = (_convolve_group(params, *share) for share in shares)
        y = _concatenate({"dimension": 1}, *parts)
    return _transpose([layout.out_spec.index(axis) for axis in range(4)], y)


def _convolve_group(params: dict[str, Any], x: Folded, kernel: Folded) -> Folded:
    """[C, N, H, W] and [C, F, kh, kw] to [N, F, H', W']; only the windows that differ."""
    kernel = kernel.unfolded(2, 3)
    options = ("window_strides", "padding", "lhs_dilation", "rhs_dilation")
    met: list[np.ndarray] = []
    index: list[np.ndarray] = []
    for axis, (step, pads, spread, dilation) in enumerate(
        zip(*(params[name] for name in options), strict=True), start=2
    ):
        size, window = x.shape[axis], kernel.shape[axis]
        places = windows_of(size, window, step, pads, spread, dilation)
        rows, which = distinct(entries_at(x, axis, places))
        met, index = [*met, rows], [*index, which]
    total: Any = 0
    for part, weights in _contracted(x, kernel):  # [N, H, W] and [F, kh, kw]
        image = fold(part)
        for i, rows in enumerate(met[0].T):
            lines = fold(take(image, rows, 1))
            for j, columns in enumerate(met[1].T):
                total = total + take(lines, columns, 2)[:, None] * weights[:, i, j, None, None]
    return Folded(
        total.astype(params["preferred_element_type"] or x.array.dtype),
        (x.index[1], kernel.index[1], *index),
    )


_CALLS = (
    *("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
)


def _divide(params: dict[str, Any], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Integers are rounded towards zero."""
    if jax.numpy.issubdtype(x.dtype, np.inexact):
        return np.divide(x, y)
    return np.asarray(jax.lax.div(*np.broadcast_arrays(x, y)))


def _lowest(dtype: Any) -> Any:
    return -np.inf if jax.numpy.issubdtype(dtype, np.inexact) else np.iinfo(dtype).min


def _numpy(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda params, *arrays: function(*arrays)


_ELEMENTWISE: dict[str, Callable[..., np.ndarray] | None] = {
    "add": _numpy(np.add),
    "sub": _numpy(np.subtract),
    "mul": _numpy(np.multiply),
    "div": _divide,
    "max": _numpy(np.maximum),
    "min": _numpy(np.minimum),
    "neg": _numpy(np.negative),
    "square": _numpy(np.square),
    "sqrt": _numpy(np.sqrt),
    "abs": _numpy(np.abs),
    "copy": _numpy(np.asarray),
    "convert_element_type": lambda params, x: x.astype(params["new_dtype"]),
    **dict.fromkeys(("rem", "pow", "integer_pow", "rsqrt", "cbrt", "exp", "exp2", "log")),
    **dict.fromkeys(("log1p", "expm1", "tanh", "logistic", "erf", "erfc", "erf_inv", "sin", "cos")),
    **dict.fromkeys(("tan", "sinh", "cosh", "asinh", "acosh", "atanh", "atan", "atan2", "sign")),
    **dict.fromkeys(("floor", "ceil", "round", "clamp", "select_n", "eq", "ne", "lt", "le", "gt")),
    **dict.fromkeys(("ge", "and", "or", "xor", "not", "is_finite", "reduce_precision")),
}
"""Functions of one element each: NumPy's where it has the same, JAX's where None."""

_RULES: dict[str, Callable[..., Folded | None]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": lambda params, x: _reshape(params["new_sizes"], x),
    "squeeze": lambda params, x: _reshape(
        [n for i, n in enumerate(x.shape) if i not in params["dimensions"]], x
    ),
    "transpose": lambda params, x: _transpose(params["permutation"], x),
    "reduce_sum": functools.partial(_reduce, np.sum),
    "reduce_max": functools.partial(_reduce, np.max),
    "reduce_min": functools.partial(_reduce, np.min),
    "slice": _slice,
    "rev": _reverse,
    "pad": _pad,
    "concatenate": _concatenate,
    "stack": _stack,
    "reduce_window_max": functools.partial(_reduce_window, np.maximum, _lowest),
    "reduce_window_sum": functools.partial(_reduce_window, np.add, lambda dtype: 0),
    "dot_general": _dot,
    "conv_general_dilated": _convolve,
}
