"""Values that differ from device to device, as ``shard_map`` keeps account of them.

Under ``jax.shard_map`` with ``check_vma=True``, its default, a value is known to vary over a mesh
axis or to be replicated, and the gradient of what is replicated is summed over the devices. Code
that sums by itself, and branches and loops whose values must have one type, make values varying
first. Elsewhere (``pmap``, ``vmap``, ``check_vma=False``) no account is kept and nothing is done.
"""

from collections.abc import Iterable
from typing import Any

import jax


def varying_over(axis_name: str | None, tree: Any) -> Any:
    """``tree``, every leaf of which varies over the mapped axis; as it is for None."""
    if axis_name is None or axis_name not in _axes(jax.lax.axis_index(axis_name)):
        return tree
    return jax.tree.map(lambda leaf: _cast(leaf, [axis_name]), tree)


def alike(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays, each varying over all axes that one of them varies over.

    The gradient of one that was replicated is summed over the devices, as that of any operation.
    """
    axes = frozenset[str]().union(*map(_axes, arrays))
    return tuple(_cast(array, axes) for array in arrays)


def _cast(x: jax.Array, axes: Iterable[str]) -> jax.Array:
    more = tuple(sorted(set(axes) - _axes(x)))
    return jax.lax.pcast(x, more, to="varying") if more else x


def _axes(x: Any) -> frozenset[str]:
    """The axes that a value is known to vary over."""
    kind = jax.typeof(x)
    if hasattr(kind, "vma"):  # in other versions of jax
        return frozenset(kind.vma)
    return frozenset(kind.manual_axis_type.varying)
