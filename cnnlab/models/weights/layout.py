"""From PyTorch's order of axes to the one here, a layer at a time.

| layer | there | here |
| --- | --- | --- |
| convolution | ``weight`` [out, in / groups, kh, kw] | ``kernel`` [kh, kw, in / groups, out] |
| transposed convolution | ``weight`` [in, out, kh, kw] | ``kernel`` [kh, kw, in, out], not turned |
| dense | ``weight`` [out, in] | ``kernel`` [in, out] |
| dense after a flatten | inputs in the order C, H, W | inputs in the order H, W, C |
| normalisation | ``weight``, ``bias`` | ``scale``, ``bias`` |
| its statistics | ``running_mean``, ``running_var`` | ``mean``, ``var`` |
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_LEAVES = {
    "bias": "params/{}/bias",
    "running_mean": "batch_stats/{}/mean",
    "running_var": "batch_stats/{}/var",
}


def convolution(weight: np.ndarray) -> np.ndarray:
    """[out, in, kh, kw] to [kh, kw, in, out]."""
    return weight.transpose(2, 3, 1, 0)


def transposed_convolution(weight: np.ndarray) -> np.ndarray:
    """[in, out, kh, kw] to [kh, kw, in, out].

    ``ConvTranspose`` here is, as in PyTorch, the gradient of a convolution: no turn by 180 degrees,
    which Flax's own would need.
    """
    return weight.transpose(2, 3, 0, 1)


def dense(weight: np.ndarray, channels: int | None = None) -> np.ndarray:
    """[out, in] to [in, out].

    Args:
      weight: as in PyTorch.
      channels: those of the maps that were flattened before this layer, None if none were. The
        inputs then come as [C, H, W] there and as [H, W, C] here.
    """
    if channels and weight.shape[1] % channels == 0:
        split = weight.reshape(weight.shape[0], channels, -1)
        weight = split.swapaxes(1, 2).reshape(weight.shape)
    return weight.T


def leaves(
    path: str, tensors: Mapping[str, np.ndarray], channels: int | None = None
) -> dict[str, tuple[str, np.ndarray]]:
    """The variables of one layer.

    Args:
      path: where the layer is here, such as ``stage1/block0/conv1``; one whose last name begins
        with ``up`` or ``transposed`` is a transposed convolution.
      tensors: of the layer, by their names there.
      channels: see :func:`dense`.

    Returns:
      ``(name there, value)`` by names here, such as ``params/stage1/block0/conv1/kernel``. Tensors
      of other names are left out.
    """
    variables = {
        _LEAVES[name].format(path): (name, value)
        for name, value in tensors.items()
        if name in _LEAVES
    }
    weight = tensors.get("weight")
    if weight is None:
        return variables
    if weight.ndim == 4:
        turned = path.rpartition("/")[2].startswith(("up", "transposed"))
        kernel = transposed_convolution(weight) if turned else convolution(weight)
    elif weight.ndim == 2:
        kernel = dense(weight, channels)
    else:
        variables[f"params/{path}/scale"] = ("weight", weight)
        return variables
    variables[f"params/{path}/kernel"] = ("weight", kernel)
    return variables
