"""Keys and order: how transformations reach a batch and follow each other."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment
from cnnlab.augment.compose import check_images

KEY = jax.random.key(7)


def reveal_key(key, image):
    """Puts a number that only this key gives into every pixel."""
    return jnp.full_like(image, jax.random.uniform(key))


def test_every_example_gets_fold_in_of_its_place_in_the_batch():
    images = jnp.zeros((5, 2, 2, 1))
    got = augment.per_example(reveal_key)(KEY, images)[:, 0, 0, 0]
    want = [jax.random.uniform(jax.random.fold_in(KEY, i)) for i in range(5)]
    np.testing.assert_array_equal(got, jnp.stack(want))


def test_a_prefix_of_the_batch_is_transformed_as_the_whole(quick_jit):
    images = jax.random.normal(jax.random.key(0), (6, 8, 8, 3))
    chain = quick_jit(augment.compose(augment.flip(), augment.crop(2), augment.cutout(3)))
    np.testing.assert_array_equal(chain(KEY, images[:4]), chain(KEY, images)[:4])


def test_the_kth_transformation_gets_fold_in_of_k():
    images = jnp.zeros((2, 2, 2, 1))
    seen = []

    def note(key, images):
        seen.append(jax.random.key_data(key))
        return images

    augment.compose(note, note, note)(KEY, images)
    want = [jax.random.key_data(jax.random.fold_in(KEY, k)) for k in range(3)]
    np.testing.assert_array_equal(seen, want)


def test_the_first_transformation_named_is_applied_first():
    chain = augment.compose(lambda key, x: x + 1, lambda key, x: x * 10)
    np.testing.assert_array_equal(chain(KEY, jnp.ones((1, 1, 1, 1))), [[[[20]]]])


def test_compose_of_nothing_is_the_identity():
    images = jnp.arange(8, dtype=jnp.uint8).reshape(2, 2, 2, 1)
    got = augment.compose()(KEY, images)
    assert got.dtype == jnp.uint8
    np.testing.assert_array_equal(got, images)


def test_a_compiled_chain_does_what_the_plain_one_does(quick_jit):
    images = jax.random.normal(jax.random.key(0), (3, 6, 6, 2))
    chain = augment.compose(augment.flip(), augment.crop(1), augment.cutout(2))
    np.testing.assert_array_equal(quick_jit(chain)(KEY, images), chain(KEY, images))


def test_members_may_be_mapped_over(quick_jit):
    images = jax.random.normal(jax.random.key(0), (2, 3, 6, 6, 2))
    keys = jax.random.split(KEY, 2)
    chain = augment.compose(augment.flip(), augment.crop(1), augment.cutout(2))
    alone = quick_jit(chain)
    want = jnp.stack([alone(keys[m], images[m]) for m in range(2)])
    np.testing.assert_array_equal(quick_jit(jax.vmap(chain))(keys, images), want)


def test_images_without_channels_are_refused_with_the_way_to_add_them():
    with pytest.raises(ValueError, match=r"\[N, H, W, C\].*\(32, 28, 28\).*images\[\.\.\., None\]"):
        check_images(jnp.zeros((32, 28, 28)))


@pytest.mark.parametrize(
    "transform",
    [
        augment.flip(),
        augment.crop(),
        augment.cutout(2),
        augment.normalize((0.0,), (1.0,)),
        augment.subtract_mean_image(np.zeros((8, 8, 1))),
        augment.to_unit_range(),
    ],
)
def test_every_transformation_checks_its_images(transform):
    with pytest.raises(ValueError, match=r"must be \[N, H, W, C\]"):
        transform(KEY, jnp.zeros((8, 8)))


def test_compose_of_nothing_is_recognised_as_the_identity():
    images = jnp.arange(12.0).reshape(1, 2, 2, 3)
    assert augment.compose() is augment.identity
    assert augment.compose(augment.flip()) is not augment.identity
    np.testing.assert_array_equal(augment.identity(KEY, images), images)
