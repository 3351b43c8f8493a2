"""Losses of dense prediction: every pixel has a class; an example's loss is a mean over its pixels.

Cross-entropy counts pixels, so small objects hardly count; Dice counts the overlap of each class,
independent of its size (Milletari, Navab & Ahmadi, V-Net, 3DV 2016). ``segmentation`` mixes the two
as the loss of a ``Recipe`` whose data set has masks for ``annotations``:

    recipe = dataclasses.replace(recipe, loss=segmentation(dice=0.5), score=pixel_accuracy)

Where a network without padding gives logits for fewer pixels than there are (U-Net as published:
388 of 572), the masks are cropped to their middle. The losses and gradients of an example with a
pixel of no class are NaN; ``check_masks`` refuses such masks beforehand.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
import optax
from jax import numpy as jnp

from cnnlab.losses.labels import one_or_nan
from cnnlab.losses.precision import at_least_float32

DenseLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""``(logits [N, H, W, K], labels [N], masks [N, H', W']) -> losses [N]``."""

_Masks = TypeVar("_Masks", jax.Array, np.ndarray)


def segmentation(
    dice: float = 0.5,
    *,
    class_weights: Sequence[float] | None = None,
    smooth: float = 1.0,
    present: bool = True,
) -> DenseLoss:
    """``(1 - dice)`` times the pixels' cross-entropy and ``dice`` times one minus their Dice.

    Args:
      dice: the weight of soft Dice in [0, 1]: 0 is cross-entropy alone, 1 Dice alone.
      class_weights: > 0, one for each of K classes, of the cross-entropy's pixels and of the
        classes in Dice's mean; None for all the same.
      smooth: pixels >= 0 added to both parts of Dice's fraction, see ``soft_dice``.
      present: average Dice only over the classes that are in the example's mask. Of ten classes
        a scene has few, and the others would dominate the mean.

    Returns:
      ``loss(logits, labels, masks) -> [N]``; the labels are not used.

    Raises:
      ValueError: for numbers out of range; on calling, where shapes do not fit.

    Example:
      >>> recipe = dataclasses.replace(recipe, loss=segmentation(dice=1.0))
    """
    if not 0 <= dice <= 1:
        raise ValueError(
            f"dice must be in [0, 1], the weight of the Dice loss beside cross-entropy, got {dice}."
        )
    if not 0 <= smooth < float("inf"):
        raise ValueError(f"smooth must be finite pixels >= 0, got {smooth}.")
    weights = _check_weights(class_weights)

    def loss(logits: jax.Array, labels: jax.Array, masks: jax.Array) -> jax.Array:
        masks, logits = centred(masks, logits), at_least_float32(logits)
        total = jnp.zeros(logits.shape[0], logits.dtype)
        if dice < 1:
            total += (1 - dice) * pixel_cross_entropy(logits, masks, class_weights=weights)
        if dice > 0:
            total += dice * soft_dice(
                logits, masks, class_weights=weights, smooth=smooth, present=present
            )
        return total

    return loss


def pixel_cross_entropy(
    logits: jax.Array, masks: jax.Array, *, class_weights: Sequence[float] | None = None
) -> jax.Array:
    """The mean over an example's pixels of the softmax's cross-entropy, in nats.

    Args:
      logits: float ``[N, H, W, K]``.
      masks: integer ``[N, H, W]`` in ``[0, K)``.
      class_weights: K numbers > 0; the mean is weighted by those of the pixels' own classes.

    Returns:
      float ``[N]``.

    Source: for the weights, Ronneberger et al., U-Net, MICCAI 2015, section 3, without the term of
    the distance to borders.
    """
    _check_shapes(logits, masks)
    logits = at_least_float32(logits)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, masks.astype(jnp.int32))
    losses *= one_or_nan(masks, logits.shape[-1])
    if class_weights is None:
        return jnp.mean(losses, axis=(1, 2))
    weights = _weights_array(class_weights, logits)[masks.astype(jnp.int32)]
    return jnp.sum(weights * losses, axis=(1, 2)) / jnp.sum(weights, axis=(1, 2))


def soft_dice(
    logits: jax.Array,
    masks: jax.Array,
    *,
    class_weights: Sequence[float] | None = None,
    smooth: float = 1.0,
    present: bool = True,
) -> jax.Array:
    """One minus the mean over classes of the Dice coefficient of the softmax with the mask.

    Args:
      logits: float ``[N, H, W, K]``.
      masks: integer ``[N, H, W]`` in ``[0, K)``.
      class_weights: K numbers > 0: the mean over classes is weighted by them.
      smooth: see ``dice_coefficient``.
      present: average only over the classes that are in the example's mask. Otherwise an absent
        class costs as much as is predicted of it: with ``smooth`` of 1 a half, if its squared
        probabilities sum to one pixel.

    Returns:
      float ``[N]`` in [0, 1].

    Source: Milletari et al., 3DV 2016, section 3, for one class; here the mean of K.
    """
    _check_shapes(logits, masks)
    logits = at_least_float32(logits)
    truth = jax.nn.one_hot(masks, logits.shape[-1], dtype=logits.dtype)
    coefficients = dice_coefficient(jax.nn.softmax(logits), truth, smooth=smooth)
    weights = jnp.ones(logits.shape[-1], logits.dtype)
    if class_weights is not None:
        weights = _weights_array(class_weights, logits)
    weights = jnp.broadcast_to(weights, coefficients.shape)
    if present:
        weights = weights * jnp.any(truth > 0, axis=(1, 2))
    losses = jnp.sum(weights * (1 - coefficients), axis=-1) / jnp.sum(weights, axis=-1)
    return losses * jnp.min(one_or_nan(masks, logits.shape[-1]), axis=(1, 2))


def dice_coefficient(
    probabilities: jax.Array, truth: jax.Array, *, smooth: float = 0.0
) -> jax.Array:
    """``(2 sum p g + smooth) / (sum p^2 + sum g^2 + smooth)`` over the pixels of each class.

    Args:
      probabilities: float ``[N, H, W, K]`` in [0, 1].
      truth: float ``[N, H, W, K]``, 1 where the pixel is of the class.
      smooth: pixels >= 0 added to numerator and denominator. With 0 this is the paper's; a class
        that is in neither has a coefficient of 1.

    Returns:
      float ``[N, K]`` in [0, 1].

    Source: Milletari et al., 3DV 2016, section 3.
    """
    probabilities, truth = at_least_float32(probabilities), at_least_float32(truth)
    both = 2 * jnp.sum(probabilities * truth, axis=(1, 2)) + smooth
    each = jnp.sum(jnp.square(probabilities) + jnp.square(truth), axis=(1, 2)) + smooth
    empty = each <= 0
    return jnp.where(empty, 1.0, both / jnp.where(empty, 1.0, each))


def pixel_accuracy(logits: jax.Array, labels: jax.Array, masks: jax.Array) -> jax.Array:
    """The fraction of an example's pixels that are classified correctly, for ``Recipe.score``.

    Args:
      logits: float ``[N, H, W, K]``.
      labels: not used.
      masks: integer ``[N, H', W']``, cropped to their middle where logits are fewer.

    Returns:
      float32 ``[N]`` in [0, 1].
    """
    masks = centred(masks, logits)
    _check_shapes(logits, masks)
    correct = jnp.argmax(logits, axis=-1) == masks
    known = one_or_nan(masks, logits.shape[-1])
    return jnp.mean(correct.astype(jnp.float32) * known, axis=(1, 2))


def centred(masks: _Masks, like: Any) -> _Masks:
    """The middle of masks ``[N, H', W']``, of the height and width of ``like`` ``[N, H, W, ...]``.

    Of an odd number of pixels to crop, the larger half is cropped at the right or the bottom. A
    NumPy array gives a NumPy array.

    Raises:
      ValueError: if the masks are smaller than ``like``, or of another rank.
    """
    if masks.ndim != 3 or like.ndim < 3:
        raise ValueError(
            f"masks must be integers [N, H, W] and logits [N, H, W, K], got shapes {masks.shape} "
            f"and {like.shape}."
        )
    excess = [have - wanted for have, wanted in zip(masks.shape[1:], like.shape[1:3], strict=True)]
    if min(excess) < 0:
        raise ValueError(
            f"masks must have at least the logits' {like.shape[1]} x {like.shape[2]} pixels, got "
            f"{masks.shape[1]} x {masks.shape[2]}."
        )
    top, left = (pixels // 2 for pixels in excess)
    return masks[:, top : top + like.shape[1], left : left + like.shape[2]]


def check_masks(masks: np.ndarray, num_classes: int) -> None:
    """Checks that masks are class indices, which a compiled loss cannot check.

    Args:
      masks: integers ``[N, H, W]`` in ``[0, num_classes)``.
      num_classes: K.

    Raises:
      ValueError: for masks of another rank or dtype, or out of range.
    """
    if masks.ndim != 3 or masks.dtype.kind not in "iu":
        raise ValueError(
            f"masks must be integers [N, H, W], got {masks.dtype} of shape {masks.shape}."
        )
    low, high = int(masks.min()), int(masks.max())
    if low < 0 or high >= num_classes:
        value = low if low < 0 else high
        raise ValueError(
            f"masks must be in 0..{num_classes - 1}, one of {num_classes} classes for each pixel, "
            f"got {value}. Renumber the classes, or give the network more outputs."
        )


def _check_shapes(logits: jax.Array, masks: jax.Array) -> None:
    if logits.ndim != 4 or masks.shape != logits.shape[:3]:
        raise ValueError(
            "logits must be [N, H, W, K] and masks integers [N, H, W], "
            f"got shapes {logits.shape} and {masks.shape}."
        )
    if not jnp.issubdtype(masks.dtype, jnp.integer):
        raise ValueError(f"masks must be integers, got {masks.dtype}.")


def _check_weights(class_weights: Sequence[float] | None) -> tuple[float, ...] | None:
    if class_weights is None:
        return None
    weights = tuple(float(weight) for weight in class_weights)
    if not weights or not all(0 < weight < float("inf") for weight in weights):
        raise ValueError(
            f"class weights must be positive and finite, one for each class, got {weights}."
        )
    return weights


def _weights_array(class_weights: Sequence[float], logits: jax.Array) -> jax.Array:
    if len(class_weights) != logits.shape[-1]:
        raise ValueError(
            f"there must be a weight for each of {logits.shape[-1]} classes, got "
            f"{len(class_weights)}."
        )
    return jnp.asarray(class_weights, logits.dtype)
