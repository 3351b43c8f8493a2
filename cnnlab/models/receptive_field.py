"""Which pixels a unit depends on, read from a traced computation.

Of every array the first and the last line of the image are followed that each of its entries
depends on, through one equation of the computation after the other: a convolution looks at a
window, a mean at all, an elementwise operation at the same place. Nothing is computed, so an image
of any size takes no time, and no layer has to obey a formula.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend import core

# Operations whose output has the shape of an input, and which are not elementwise.
_MIXING = ("sort", "cum", "scatter", "gather", "dynamic_", "fft", "triangular_solve", "top_k")

_FIRST = np.iinfo(np.int64).max  # of an entry that depends on no line


@dataclasses.dataclass(frozen=True, eq=False)
class Lines:
    """The lines along one axis of the image that the entries of an array depend on.

    Attributes:
      first: int64, of the array's rank; an axis of length 1 stands for one of any length along
        which all entries are alike.
      last: the same; less than ``first`` where an entry depends on nothing.
    """

    first: np.ndarray
    last: np.ndarray

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> "Lines":
        """The same entries in another order or shape."""
        return Lines(function(self.first), function(self.last))

    def over(self, axes: Sequence[int]) -> "Lines":
        """The lines that any entry along ``axes`` depends on; the axes have length 1 after it."""
        axes = tuple(axes)
        return Lines(self.first.min(axes, keepdims=True), self.last.max(axes, keepdims=True))

    def whole(self, shape: Sequence[int]) -> "Lines":
        """All entries of the array of this shape, one by one."""
        return self.map(lambda x: np.broadcast_to(x, shape))

    def compressed(self) -> "Lines":
        """The same with axes of length 1 where all entries along them are alike."""
        x = self
        for axis in range(x.first.ndim):
            if all((a == a.take([0], axis)).all() for a in (x.first, x.last)):
                x = x.map(functools.partial(np.take, indices=[0], axis=axis))
        return x


def nothing(rank: int) -> Lines:
    """An array of this rank that does not depend on the image."""
    shape = (1,) * rank
    return Lines(np.full(shape, _FIRST), np.full(shape, -1))


def image_lines(image_shape: tuple[int, int, int], axis: int) -> Lines:
    """The images ``[1, H, W, C]`` themselves: each pixel depends on its own line."""
    shape = [1, 1, 1, 1]
    shape[1 + axis] = image_shape[axis]
    lines = np.arange(image_shape[axis]).reshape(shape)
    return Lines(lines, lines)


def middle_extent(lines: Lines, shape: Sequence[int]) -> int:
    """How many lines the unit in the middle of an output ``[1, h, w, C]`` or ``[1, D]`` spans."""
    x = lines
    for axis in (1, 2) if len(shape) == 4 else (1,):
        at = shape[axis] // 2 if x.first.shape[axis] > 1 else 0
        x = x.map(functools.partial(np.take, indices=[at], axis=axis))
    return max(0, int(x.last.max()) - int(x.first.min()) + 1)


def follow(jaxpr: core.Jaxpr, inputs: Sequence[Lines]) -> list[Lines]:
    """The lines of the outputs of a traced computation, of those of its inputs."""
    known: dict[Any, Lines] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Lines:
        return known.get(variable) or nothing(len(_shape(variable)))

    for eqn in jaxpr.eqns:
        outputs = _equation(eqn, [read(v) if _is_variable(v) else _literal(v) for v in eqn.invars])
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [read(v) if _is_variable(v) else _literal(v) for v in jaxpr.outvars]


def _equation(eqn: core.JaxprEqn, inputs: list[Lines]) -> list[Lines]:
    name, params = eqn.primitive.name, eqn.params
    if name == "cond":
        branches = [follow(branch.jaxpr, inputs[1:]) for branch in params["branches"]]
        # Of ways to the same result, which a platform chooses from, the one that says most counts.
        join = _intersection if params.get("branches_platforms") else _union
        return [join(each) for each in zip(*branches, strict=True)]
    inner = params.get("jaxpr") or params.get("call_jaxpr") or params.get("fun_jaxpr")
    if inner is not None and name not in ("scan", "while"):
        return follow(getattr(inner, "jaxpr", inner), inputs)
    shapes, out = [_shape(v) for v in eqn.invars], _shape(eqn.outvars[0])
    rule = _RULES.get(name)
    if rule is not None:
        return [rule(params, inputs, shapes, out)] * len(eqn.outvars)
    if name.startswith("reduce_window"):
        return [_reduce_window(params, inputs[0])]
    if name.startswith(("reduce_", "arg")) and "axes" in params:
        reduced = _union([each.over(params["axes"]) for each in inputs])
        return [reduced.map(lambda x: x.squeeze(tuple(params["axes"])))] * len(eqn.outvars)
    mixes = name.startswith(_MIXING)
    if not mixes and all(_broadcasts(shape, out) for shape in shapes):  # elementwise
        ranked = [each if each.first.ndim else _everywhere(each, out) for each in inputs]
        return [_union(ranked or [nothing(len(out))])] * len(eqn.outvars)
    everything = _union([_scalar(x) for x in inputs])
    return [_everywhere(everything, _shape(v)) for v in eqn.outvars]


def _convolution(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    image, kernel = inputs
    spec = params["dimension_numbers"]
    batch, features, *spatial = spec.lhs_spec
    x = image.over([features])
    for number, axis in enumerate(spatial):
        low, _ = params["padding"][number]
        windows = _windows(
            shapes[0][axis],
            out[spec.out_spec[2 + number]],
            shapes[1][spec.rhs_spec[2 + number]],
            params["window_strides"][number],
            low,
            params["lhs_dilation"][number],
            params["rhs_dilation"][number],
        )
        x = _over_windows(x, axis, windows)
    order = np.argsort(spec.out_spec)
    moved = x.map(lambda a: a.transpose((batch, features, *spatial)).transpose(order))
    return _union([moved, _everywhere(_scalar(kernel), out)])


def _reduce_window(params: Any, x: Lines) -> Lines:
    rank = x.first.ndim
    for axis, window in enumerate(params["window_dimensions"]):
        size = x.first.shape[axis]
        if (window == 1 and params["window_strides"][axis] == 1) or size == 1:
            continue
        low, high = params["padding"][axis]
        stride = params["window_strides"][axis]
        spread = (params.get("base_dilation") or (1,) * rank)[axis]
        apart = (params.get("window_dilation") or (1,) * rank)[axis]
        padded = (size - 1) * spread + 1 + low + high
        length = (padded - (window - 1) * apart - 1) // stride + 1
        x = _over_windows(x, axis, _windows(size, length, window, stride, low, spread, apart))
    return x


def _windows(
    size: int, length: int, window: int, stride: int, low: int, spread: int, apart: int
) -> np.ndarray:
    """The input places of each output place, int ``[length, window]``; -1 for padding."""
    at = np.arange(length)[:, None] * stride - low + np.arange(window) * apart
    there = (at >= 0) & (at % spread == 0) & (at // spread < size)
    return np.where(there, at // spread, -1)


def _over_windows(x: Lines, axis: int, windows: np.ndarray) -> Lines:
    if x.first.shape[axis] == 1:
        return x
    first, last = np.moveaxis(x.first, axis, -1)[..., windows], np.moveaxis(x.last, axis, -1)
    last = np.where(windows < 0, -1, last[..., windows]).max(-1)
    first = np.where(windows < 0, _FIRST, first).min(-1)
    return Lines(np.moveaxis(first, -1, axis), np.moveaxis(last, -1, axis))


def _dot(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    del shapes
    contracted, batched = params["dimension_numbers"]
    sides = []
    for x, contract, batch in zip(inputs, contracted, batched, strict=True):
        free = [i for i in range(x.first.ndim) if i not in (*contract, *batch)]
        order = (*batch, *free, *contract)  # the contracted ones have length 1, and are cut off
        kept = x.over(contract).map(functools.partial(np.transpose, axes=order))
        sides.append((kept.map(functools.partial(_cut_off, count=len(contract))), len(free)))
    (left, left_free), (right, right_free) = sides
    rank = len(out)
    left = left.map(lambda a: np.expand_dims(a, tuple(range(rank - right_free, rank))))
    start = rank - right_free - left_free
    right = right.map(lambda a: np.expand_dims(a, tuple(range(start, start + left_free))))
    return _union([left, right])


def _cut_off(x: np.ndarray, count: int) -> np.ndarray:
    """Without the last axes, so many, of length 1."""
    return x.reshape(x.shape[: x.ndim - count])


def _broadcast(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    del shapes
    places = params["broadcast_dimensions"]

    def spread(x: np.ndarray) -> np.ndarray:
        shape = [1] * len(out)
        for axis, place in enumerate(places):
            shape[place] = x.shape[axis]
        return x.reshape(shape)

    return inputs[0].map(spread)


def _reshape(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    del params
    return inputs[0].whole(shapes[0]).map(lambda x: x.reshape(out)).compressed()


def _transpose(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    del shapes, out
    return inputs[0].map(functools.partial(np.transpose, axes=params["permutation"]))


def _slice(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    del out
    steps = params["strides"] or (1,) * len(shapes[0])
    limits = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    cuts = [slice(*limit) for limit in limits]
    return inputs[0].map(
        lambda x: x[tuple(c if n > 1 else slice(None) for c, n in zip(cuts, x.shape, strict=True))]
    )


def _pad(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    x, value = inputs
    for axis, (low, high, inner) in enumerate(params["padding_config"]):
        if (low, high, inner) != (0, 0, 0):
            shape = (*x.first.shape[:axis], shapes[0][axis], *x.first.shape[axis + 1 :])
            windows = _windows(shapes[0][axis], out[axis], 1, 1, low, inner + 1, 1)
            x = _over_windows(x.whole(shape), axis, windows)
    return _union([x.compressed(), _everywhere(value, out)])


def _reverse(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    del shapes, out
    return inputs[0].map(functools.partial(np.flip, axis=tuple(params["dimensions"])))


def _stack(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    axis = params["axis"]
    parts = [x.map(functools.partial(np.expand_dims, axis=axis)) for x in inputs]
    wide = [(*shape[:axis], 1, *shape[axis:]) for shape in shapes]
    return _concatenate({"dimension": axis}, parts, wide, out)


def _concatenate(params: Any, inputs: list[Lines], shapes: Any, out: Any) -> Lines:
    del out
    axis = params["dimension"]
    lengths = [shape[axis] for shape in shapes]
    ranks = np.broadcast_shapes(*(np.delete(x.first.shape, axis) for x in inputs))

    def wide(x: np.ndarray, length: int) -> np.ndarray:
        return np.broadcast_to(x, (*ranks[:axis], length, *ranks[axis:]))

    parts = [
        x.map(functools.partial(wide, length=length))
        for x, length in zip(inputs, lengths, strict=True)
    ]
    return Lines(
        np.concatenate([x.first for x in parts], axis),
        np.concatenate([x.last for x in parts], axis),
    ).compressed()


def _union(arrays: Sequence[Lines]) -> Lines:
    first = functools.reduce(np.minimum, (x.first for x in arrays))
    return Lines(first, functools.reduce(np.maximum, (x.last for x in arrays)))


def _intersection(arrays: Sequence[Lines]) -> Lines:
    first = functools.reduce(np.maximum, (x.first for x in arrays))
    return Lines(first, functools.reduce(np.minimum, (x.last for x in arrays)))


def _scalar(x: Lines) -> Lines:
    return x.over(range(x.first.ndim)).map(lambda a: a.reshape(()))


def _everywhere(x: Lines, shape: Sequence[int]) -> Lines:
    return x.map(lambda a: a.reshape((1,) * len(shape)))


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _broadcasts(shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    """Whether an operand of an elementwise operation may have this shape."""
    pairs = zip(shape, out, strict=False)
    return not shape or (len(shape) == len(out) and all(n in (1, wide) for n, wide in pairs))


def _is_variable(value: Any) -> bool:
    return not isinstance(value, core.Literal)


def _literal(value: Any) -> Lines:
    return nothing(np.ndim(value.val))


_RULES: dict[str, Callable[..., Lines]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _dot,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "rev": _reverse,
    "concatenate": _concatenate,
    "stack": _stack,
}
