"""The number of units of a layer that differ from each other."""

from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from numpy.typing import ArrayLike

from cnnlab.models.network import Network


def distinct_units(kernel: ArrayLike, tolerance: float = 1e-4) -> int:
    """The number of units of a layer with different weights.

    Two units are one where no weight differs by more than ``tolerance`` times the largest weight of
    the layer.

    Args:
      kernel: float ``[..., in, out]``, a unit in each column.
      tolerance: > 0; over rounding, under anything that was learnt.

    Raises:
      ValueError: if the kernel has fewer than two axes.
    """
    weights = np.asarray(kernel, np.float64)
    if weights.ndim < 2 or not weights.size:
        raise ValueError(f"kernel must be [..., in, out], got shape {weights.shape}.")
    columns = weights.reshape(-1, weights.shape[-1]).T
    near = tolerance * np.abs(weights).max()
    different: list[np.ndarray] = []
    for column in columns:
        if all(np.abs(column - other).max() > near for other in different):
            different.append(column)
    return len(different)


def hidden_units(network: Network, params: Any, tolerance: float = 1e-4) -> dict[str, list[int]]:
    """``[distinct, all]`` units of every layer before the last stage, by the layer's path."""
    return {
        "/".join(path[:-1]): [distinct_units(leaf, tolerance), leaf.shape[-1]]
        for path, leaf in flatten_dict(params).items()
        if path[-1] == "kernel" and path[0] != network.names[-1]
    }
