"""Image transformations on the device: pure functions ``(key, images) -> images``.

Every transformation is a value made once from its settings and then called; each example gets a key
of its own, so that what happens to an image does not depend on how a batch is spread over devices.

    augmentation = augment.compose(augment.flip(), augment.crop(padding=4), augment.cutout(16))
    images = jax.jit(augmentation)(key, images)

Views for predictions at test time are in ``views``: ``augment.views.ten_crop(28)(images)``. Noise,
masks and greyness for autoencoders are in ``corruption``.
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
