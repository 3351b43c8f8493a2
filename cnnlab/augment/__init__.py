"""Image transformations on the device: pure functions ``(key, images) -> images``.

Every transformation is made once from its settings and then called; each example gets its own key,
so that the result for an image does not depend on how a batch is distributed over devices.

    augmentation = augment.compose(augment.flip(), augment.crop(padding=4), augment.cutout(16))
    images = jax.jit(augmentation)(key, images)

No augmentation is ``augment.identity``, which ``compose()`` returns: ``recipe.augments`` is false.
Views for predictions at test time are in ``views``: ``augment.views.ten_crop(28)(images)``. Noise,
masks and grey images for autoencoders are in ``corruption``.
"""

from cnnlab.augment import corruption, views
from cnnlab.augment.compose import Spatial, Transform, compose, identity, per_example
from cnnlab.augment.geometry import crop, cutout, flip
from cnnlab.augment.normalize import normalize, subtract_mean_image, to_unit_range
from cnnlab.augment.views import Views

__all__ = [
    "Spatial",
    "Transform",
    "Views",
    "compose",
    "corruption",
    "crop",
    "cutout",
    "flip",
    "identity",
    "normalize",
    "per_example",
    "subtract_mean_image",
    "to_unit_range",
    "views",
]
