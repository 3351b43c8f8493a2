"""Devices as a mesh with the axes ``data`` and ``member``, and where things lie on it.

One device is a mesh of one: nothing is special about it. Members are spread over ``member``; each
batch over ``data``; parameters are whole on every device of a member's row.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA, MEMBER = "data", "member"


def make_mesh(
    members: int = 1, *, member_axis: int | None = None, devices: Sequence[Any] | None = None
) -> Mesh:
    """A mesh over all devices of all processes.

    Args:
      members: the number of networks that train at once.
      member_axis: the number of devices that the members are spread over; the batch is split over
        the others. By default the largest number that divides both members and devices, since
        members need no communication.
      devices: all devices by default.

    Raises:
      ValueError: if the devices or the members do not divide by ``member_axis``.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    rows = int(np.gcd(members, count)) if member_axis is None else member_axis
    if rows < 1 or count % rows or members % rows:
        raise ValueError(
            f"member_axis must divide the {count} devices and the {members} members, got {rows}. "
            "Leave it out for the largest number that does."
        )
    grid = np.asarray(devices).reshape(rows, count // rows)
    return Mesh(grid, (MEMBER, DATA), axis_types=(AxisType.Auto, AxisType.Auto))


def sharding(mesh: Mesh, *axes: str | tuple[str, ...] | None) -> NamedSharding:
    """The layout of an array: ``sharding(mesh, "member", None, "data")`` for ``[M, S, B, ...]``."""
    return NamedSharding(mesh, PartitionSpec(*axes))


def place(value: np.ndarray, where: NamedSharding) -> jax.Array:
    """Puts a host array, the same on every process, onto the mesh."""
    return jax.make_array_from_callback(value.shape, where, lambda index: value[index])


def fetch(tree: Any) -> Any:
    """NumPy arrays, whole on every process, of arrays that may be spread over processes.

    With several processes, all must call this with the same tree.
    """
    if jax.process_count() == 1:
        return jax.device_get(tree)

    def one(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return multihost_utils.process_allgather(leaf, tiled=True)
        return jax.device_get(leaf)

    return jax.tree.map(one, tree)


def run_once_options(platform: str) -> dict[str, int]:
    """Compiler options for a program that runs once or rarely, such as initialisation.

    On a CPU it is compiled in a fifth of the time, to slower code; elsewhere as usual.
    """
    return {"xla_backend_optimization_level": 0} if platform == "cpu" else {}


def check_divides(mesh: Mesh, batch_size: int) -> None:
    """Raises ValueError unless the batch can be split over the ``data`` axis."""
    size = mesh.shape[DATA]
    if batch_size % size:
        raise ValueError(
            f"the batch size must be a multiple of the {size} devices that share a batch, "
            f"got {batch_size}. Take {-(-batch_size // size) * size}."
        )
