"""Exports networks: variables as safetensors, the whole function as a program of StableHLO."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util
from flax.core import unfreeze
from jax import numpy as jnp

from cnnlab.files import write_bytes
from cnnlab.models.stage_calls import mode_arguments
from cnnlab.spelling import one_line, unknown

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""Where an exported program can run."""


def check_writable(path: str | Path) -> None:
    """Refuses a file that could not be written; worth asking before long work for it.

    Raises:
      FileNotFoundError: if its folder is missing.
      ValueError: if it is itself a folder, or lies in something that is none.
      PermissionError: if it, or its folder, may not be written to.
    """
    path = Path(path)
    if not path.parent.exists():
        raise FileNotFoundError(
            f"{path} must lie in a folder that is there, but there is no {path.parent}. "
            "Create it first."
        )
    if path.is_dir() or not path.parent.is_dir():
        kind = "a folder" if path.is_dir() else f"in {path.parent}, which is no folder"
        raise ValueError(f"{path} must be a file to write, but is {kind}. Name another.")
    # The file is written beside its place, and then put there.
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise PermissionError(f"{path} must be writable, but is not. Name another.")


def save_safetensors(
    variables: Mapping[str, Any], path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes variables to a .safetensors file that ``load`` and other programs read; atomic.

    Args:
      variables: of a network; leaves are named ``params/stage1/block0/conv1/kernel``, with the
        layouts and dtypes that they have here.
      path: the file, which is written over.
      metadata: text by name, put at the head of the file.

    Raises:
      FileNotFoundError: if there is no such folder, see :func:`check_writable`.
      ValueError: if the extension is not .safetensors, or there is nothing to write.
    """
    import safetensors.numpy  # noqa: PLC0415 for files of this kind only

    if Path(path).suffix != ".safetensors":
        raise ValueError(f"the file must end with .safetensors, got {path}.")
    check_writable(path)
    flat = traverse_util.flatten_dict(unfreeze(dict(variables)), sep="/")
    if not flat:
        raise ValueError("variables must hold arrays, got none. Take those of network.init.")
    # The writer takes the bytes as they lie, whatever the strides say.
    arrays = {name: np.array(leaf, order="C") for name, leaf in flat.items()}
    text = {"format": "cnnlab", **(metadata or {})}
    write_bytes(path, safetensors.numpy.save(arrays, text))


def export(
    network: nn.Module,
    variables: Mapping[str, Any],
    image_shape: Sequence[int],
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    batch: int | None = None,
) -> bytes:
    """The network with its variables as one program, which needs neither this package nor Flax.

    Args:
      network: any Linen module, which is told that it does not train.
      variables: of the network; they become part of the program.
      image_shape: height, width and channels.
      platforms: where the program shall run, of ``PLATFORMS``.
      batch: how many images the program takes; any number where None.

    Returns:
      What ``jax.export.deserialize`` reads: float32 images ``[N, H, W, C]`` to what the network
      gives. JAX promises to read it for at least six months after the version that wrote it.

    Raises:
      ValueError: if the shape is not that of an image, or a platform is unknown.
    """

    def forward(images: jax.Array) -> Any:
        return network.apply(variables, images, **mode_arguments(network, False))

    return export_function(
        forward, image_shape, dtype=jnp.float32, platforms=platforms, batch=batch
    )


def export_function(
    function: Callable[[jax.Array], Any],
    image_shape: Sequence[int],
    *,
    dtype: Any = jnp.uint8,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    batch: int | None = None,
) -> bytes:
    """A function of images as a program: :func:`export` for what does more than a network.

    Args:
      function: of images ``[n, H, W, C]`` of ``dtype``; what it holds becomes part of the program.
      image_shape: height, width and channels.
      dtype: of the images.
      platforms: where the program shall run, of ``PLATFORMS``.
      batch: how many images the program takes; any number where None.

    Raises:
      ValueError: if the shape is not that of an image, or a platform is unknown.
    """
    from jax import export as jax_export  # noqa: PLC0415 slow to import, for exports only

    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape must be (H, W, C), each >= 1, got {tuple(image_shape)}.")
    if isinstance(platforms, str) or not platforms:
        raise ValueError(f"platforms must be one or more of {PLATFORMS}, got {platforms!r}.")
    for platform in platforms:
        if platform not in PLATFORMS:
            raise ValueError(unknown("platform", platform, PLATFORMS))
    size = jax_export.symbolic_shape("n")[0] if batch is None else batch
    images = jax.ShapeDtypeStruct((size, *image_shape), dtype)
    exported = jax_export.export(jax.jit(function), platforms=tuple(platforms))(images)
    return bytes(exported.serialize())


def save_exported(path: str | Path, exported: bytes) -> None:
    """Writes what :func:`export` gave; atomic.

    Raises:
      FileNotFoundError: if there is no such folder, see :func:`check_writable`.
    """
    check_writable(path)
    write_bytes(path, exported)


def load_exported(path: str | Path) -> Callable[[Any], Any]:
    """The function in a file that ``save_exported`` wrote.

    Returns:
      A function of images ``[N, H, W, C]``, of the dtype that was exported.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if it is truncated, damaged or another file.
    """
    from jax import export as jax_export  # noqa: PLC0415 slow to import, for exports only

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be an exported network, but there is no such file.")
    try:
        exported = jax_export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # whatever the flat buffer stumbles over
        raise ValueError(
            f"{path} is truncated, damaged or no exported network: {one_line(error, 300)}. "
            "Export it again."
        ) from error
    return jax.jit(exported.call)
