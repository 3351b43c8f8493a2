"""The network of airbench94 and its initialisation (Jordan, 2024): 94% on CIFAR-10 in seconds.

| stage | layers | output for 32 x 32 x 3 |
| --- | --- | --- |
| stem | 2 x 2 convolution with bias, 24 maps (8 for every channel of the images), GELU | 31 x 31 x 24 |
| stage1 | 3 x 3 convolution, 2 x 2 max-pooling, BatchNorm, GELU, 3 x 3 convolution, BatchNorm, GELU: 64 maps | 15 x 15 x 64 |
| stage2 | the same, 256 maps | 7 x 7 x 256 |
| stage3 | the same, 256 maps | 3 x 3 x 256 |
| head | the largest value of every map, dense without bias, divided by 9 | 10 |

1,971,640 parameters for ten classes. BatchNorm has no scale, keeps 0.6 of its running statistics at
a step and adds 1e-12 to the variance. The stem's kernel is computed from images (``whitening``) and
meant to stay frozen, its bias for three epochs; ``dirac`` lets every other convolution begin by
passing its channels on.

Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv 2404.00498, 2024.
"""  # noqa: E501

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation as activation_of
from cnnlab.models.layers import Conv, Dense
from cnnlab.models.network import Network
from cnnlab.models.norms import Norm, norm
from cnnlab.models.part import Part
from cnnlab.models.pooling import max_pool

# PyTorch's default: uniform, with a variance of 1 / (3 fan_in).
_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Stem(nn.Module):
    """A 2 x 2 convolution: ``[N, H, W, C] -> [N, H - 1, W - 1, 8 C]``."""

    activation: str
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        conv = Conv(
            2 * 2 * 2 * x.shape[-1],
            (2, 2),
            padding="VALID",
            kernel_init=_UNIFORM,
            dtype=self.dtype,
            name="conv",
        )
        return activation_of(self.activation)(conv(x))


class Group(Part):
    """Two 3 x 3 convolutions, pooled after the first: ``[N, H, W, C] -> [N, H/2, W/2, features]``.

    The sizes are rounded down.
    """

    features: int
    activation: str
    dtype: jnp.dtype | None = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        for index in (1, 2):
            x = Conv(
                self.features,
                (3, 3),
                use_bias=False,
                kernel_init=_UNIFORM,
                dtype=self.dtype,
                name=f"conv{index}",
            )(x)
            x = max_pool(x, 2) if index == 1 else x
            kind = Norm("batch", epsilon=1e-12, momentum=0.6, axis_name=self.axis_name)
            name = f"norm{index}"
            normalize = norm(kind, use_scale=False, dtype=self.dtype, name=name)
            x = normalize(x, train=self.trains(name, train))
            x = activation_of(self.activation)(x)
        return x


class MaxClassifier(nn.Module):
    """The largest value of every map and a dense layer: ``[N, H, W, C] -> float32 [N, K]``."""

    num_classes: int
    divisor: float
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        dense = Dense(
            self.num_classes, use_bias=False, kernel_init=_UNIFORM, dtype=self.dtype, name="dense"
        )
        logits = dense(x.max((1, 2))) / self.divisor
        return logits.astype(jnp.promote_types(jnp.float32, x.dtype))


def airbench(
    num_classes: int = 10,
    *,
    widths: Sequence[int] = (64, 256, 256),
    divisor: float = 9.0,
    activation: str = "gelu",
    axis_name: str | None = None,
    dtype: jnp.dtype | None = None,
) -> Network:
    """The network of airbench94; with its own initialisation only through ``airbench_init``.

    Images of C channels have 8 C maps after the stem. The head takes the largest of all places,
    which for 32 x 32 pixels (and from 25 up) are the 3 x 3 of the paper; images need at least 9
    pixels.

    Args:
      num_classes: outputs.
      widths: maps of the groups; one halving of the size for each.
      divisor: of the logits; 9 in the paper.
      activation: a kind of :func:`cnnlab.models.activations.activation`.
      axis_name: of the devices that its batch normalisation averages over; see ``norms.Norm``.
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: for an unknown activation, or a width below 1.
    """
    if not widths or min(widths) < 1:
        raise ValueError(f"widths must be at least one number >= 1, got {tuple(widths)}.")
    activation_of(activation)
    groups = (
        (f"stage{i}", Group(width, activation, dtype, axis_name))
        for i, width in enumerate(widths, start=1)
    )
    head = MaxClassifier(num_classes, divisor, dtype)
    return Network((("stem", Stem(activation, dtype)), *groups, ("head", head)))


def airbench_init(network: Network, key: jax.Array, images: jax.Array) -> dict[str, Any]:
    """Variables with a whitening stem and convolutions that pass their channels on.

    Args:
      network: what :func:`airbench` gives.
      key: of the other weights.
      images: float32 [N, H, W, C], normalised as in training; the paper takes 5,000.

    Returns:
      ``{"params": ..., "batch_stats": ...}``; ``params["stem"]["conv"]["kernel"]`` is to be frozen.

    Raises:
      ValueError: if the network's stem is no 2 x 2 convolution to 8 C maps.
    """
    variables = network.init(key, images[:1])
    params = {name: dict(stage) for name, stage in variables["params"].items()}
    kernel = whitening(images)
    made = params.get("stem", {}).get("conv", {}).get("kernel")
    if made is None or made.shape != kernel.shape:
        raise ValueError(
            f"the stem must have a kernel stem/conv/kernel of shape {kernel.shape}, got "
            f"{None if made is None else made.shape}. Use this initialisation for airbench."
        )
    for name, stage in params.items():
        for layer, leaves in stage.items():
            if name == "stem" or not _spatial(leaves):
                continue
            stage[layer] = {**leaves, "kernel": dirac(leaves["kernel"])}
    params["stem"]["conv"] = {**params["stem"]["conv"], "kernel": kernel.astype(made.dtype)}
    return {**variables, "params": params}


def whitening(images: jax.Array, size: int = 2, eps: float = 5e-4) -> jax.Array:
    """Filters whose outputs on patches of the images are uncorrelated, with variance 1.

    The first half are the eigenvectors of the covariance of the patches, from the largest
    eigenvalue down, each divided by ``sqrt(eigenvalue + eps)``; the second half their negatives, so
    that a rectifier after them loses nothing. As in the published code, the covariance is taken
    about zero (the mean of normalised images), since the filters have no bias to take a mean away.

    Args:
      images: float [N, H, W, C], normalised as in training.
      size: height and width of the patches.
      eps: added to the eigenvalues; the variances are ``eigenvalue / (eigenvalue + eps)``.

    Returns:
      [size, size, C, 2 * size * size * C], of the dtype of ``images``.

    Raises:
      ValueError: if the images are smaller than a patch.

    Source: Jordan, 2024; the idea from Page, How to train your ResNet 8, 2019.
    """
    _, height, width, channels = images.shape
    rows, columns = height - size + 1, width - size + 1
    if min(rows, columns) < 1:
        raise ValueError(
            f"images must hold a patch of {size} x {size} pixels, got shape {images.shape}. Give "
            "larger images."
        )
    shifted = [images[:, i : i + rows, j : j + columns] for i in range(size) for j in range(size)]
    patches = jnp.stack(shifted, axis=3).reshape(-1, size * size * channels)
    patches = patches.astype(jnp.promote_types(images.dtype, jnp.float32))
    values, vectors = jnp.linalg.eigh(patches.T @ patches / patches.shape[0])
    scaled = vectors[:, ::-1] * jax.lax.rsqrt(jnp.maximum(values[::-1], 0) + eps)
    filters = jnp.concatenate([scaled, -scaled], axis=1)
    return filters.reshape(size, size, channels, -1).astype(images.dtype)


def dirac(kernel: jax.Array) -> jax.Array:
    """Lets the first filters of a kernel [kh, kw, C, F] pass one channel each on, as it is.

    The first ``min(C, F)`` are one at their middle for their own channel and zero elsewhere; the
    rest stay.

    Source: Zagoruyko and Komodakis, DiracNets, 2017; in this form Jordan, 2024.
    """
    height, width, channels, features = kernel.shape
    passed = min(channels, features)
    deltas = jnp.zeros((height, width, channels, passed), kernel.dtype)
    deltas = deltas.at[height // 2, width // 2, :passed].set(jnp.eye(passed, dtype=kernel.dtype))
    return jnp.concatenate([deltas, kernel[..., passed:]], axis=-1)


def _spatial(leaves: Any) -> bool:
    """True for a convolution."""
    return isinstance(leaves, Mapping) and "kernel" in leaves and leaves["kernel"].ndim == 4
