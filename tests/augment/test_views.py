"""Test-time views against slices cut by hand."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment
from cnnlab.augment import views

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 9, 2), dtype=np.uint8)
FLOATS = IMAGES.astype(np.float32) / 7


@pytest.mark.parametrize("images", [IMAGES, FLOATS])
def test_identity_and_mirror(images):
    np.testing.assert_array_equal(views.identity()(images), images[None])
    got = views.mirror()(images)
    np.testing.assert_array_equal(got[0], images)
    np.testing.assert_array_equal(got[1], np.flip(images, axis=2))
    assert got.dtype == images.dtype


def test_shifts_move_the_image_and_repeat_its_border():
    made = views.shifts(2)
    got = dict(zip(made.names, np.asarray(made(IMAGES)), strict=True))
    assert list(got) == ["identity", "left 2", "right 2", "up 2", "down 2"]
    np.testing.assert_array_equal(got["identity"], IMAGES)
    columns = {"left 2": [2, 3, 4, 5, 6, 7, 8, 8, 8], "right 2": [0, 0, 0, 1, 2, 3, 4, 5, 6]}
    rows = {"up 2": [2, 3, 4, 5, 5, 5], "down 2": [0, 0, 0, 1, 2, 3]}
    for name, at in columns.items():
        np.testing.assert_array_equal(got[name], IMAGES[:, :, at], err_msg=name)
    for name, at in rows.items():
        np.testing.assert_array_equal(got[name], IMAGES[:, at], err_msg=name)


def test_ten_crops_are_the_corners_the_centre_and_their_mirrors():
    made = views.ten_crop(4)
    got = dict(zip(made.names, np.asarray(made(IMAGES)), strict=True))
    assert len(got) == len(made) == 10
    want = {
        "top left": IMAGES[:, :4, :4],
        "top right": IMAGES[:, :4, 5:],
        "bottom left": IMAGES[:, 2:, :4],
        "bottom right": IMAGES[:, 2:, 5:],
        "centre": IMAGES[:, 1:5, 2:6],
    }
    for name, crop in want.items():
        mirror = IMAGES[:, :, ::-1][:, 1:5, 2:6] if name == "centre" else crop[:, :, ::-1]
        np.testing.assert_array_equal(got[name], crop, err_msg=name)
        np.testing.assert_array_equal(got[f"{name}, mirror"], mirror, err_msg=name)


@pytest.mark.parametrize(
    ("margin", "first"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4), (9, 4)]
)
def test_the_central_crop_of_an_odd_margin_begins_where_torchvision_s_does(margin, first):
    """``int(round((height - size) / 2.0))``, and Python rounds halves to even."""
    images = np.random.default_rng(1).integers(0, 256, (2, 5 + margin, 8 + margin, 1), np.uint8)
    got = np.asarray(views.ten_crop(5)(images))
    across = round((3 + margin) / 2.0)
    crop = slice(None), slice(first, first + 5), slice(across, across + 5)
    np.testing.assert_array_equal(got[4], images[crop])
    np.testing.assert_array_equal(got[9], images[:, :, ::-1][crop])


@pytest.mark.parametrize("shape", [(8, 11), (9, 12), (12, 9), (7, 7), (10, 8)])
def test_ten_crops_are_torchvision_s(shape):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.functional")
    images = np.random.default_rng(1).integers(0, 256, (2, *shape, 3), np.uint8)
    wanted = functional.ten_crop(torch.from_numpy(images).permute(0, 3, 1, 2), 5)
    order = (0, 1, 2, 3, 4, 6, 5, 8, 7, 9)  # of a mirrored image, the left corners are the right
    for got, place in zip(views.ten_crop(5)(images), order, strict=True):
        np.testing.assert_array_equal(got, wanted[place].permute(0, 2, 3, 1).numpy())


def test_the_longer_side_of_a_resized_image_is_rounded_down():
    # 11 * 5 / 6 = 9.17 and 11 * 8 / 6 = 14.67: torchvision has 9 and 14.
    image = np.zeros((1, 6, 11, 1), np.float32)
    assert views._resize_shorter_side(image, 5).shape == (1, 5, 9, 1)
    assert views._resize_shorter_side(image, 8).shape == (1, 8, 14, 1)


def test_a_crop_of_the_whole_image_is_the_image():
    got = views.ten_crop(6)(IMAGES[:, :, :6])
    np.testing.assert_array_equal(got[:5], np.stack([IMAGES[:, :, :6]] * 5))


def test_scales_resize_the_shorter_side_and_crop_each_size():
    made = views.scales((6, 12), 5)
    got = made(FLOATS)
    assert got.shape == (20, 3, 5, 5, 2) and made.names[10] == "12 pixels, top left"
    np.testing.assert_array_equal(got[:10], views.ten_crop(5)(FLOATS))
    # Twice as large: new pixel centres lie a quarter of a pixel beside the old ones.
    rows = 0.75 * FLOATS + 0.25 * FLOATS[:, [0, 0, 1, 2, 3, 4]]
    corner = 0.75 * rows + 0.25 * rows[:, :, [0, *range(8)]]
    np.testing.assert_allclose(got[10][:, ::2, ::2], corner[:, :3, :3], rtol=1e-4)
    # The far corner is the near one of the image turned round.
    turned = made(FLOATS[:, ::-1, ::-1])[10][:, ::-1, ::-1]
    np.testing.assert_allclose(got[13], turned, rtol=1e-4)


def test_a_shrunk_image_is_averaged_and_uint8_rounded():
    stripes = np.tile(np.asarray([0, 255], np.uint8)[:, None, None], (6, 12, 1))[None]
    got = views.scales((3,), 3)(stripes)
    assert got.dtype == jnp.uint8
    # Aliasing would pick black or white rows; a window of 8 rows sees both alike.
    assert got.min() >= 110 and got.max() <= 145
    ramp = np.arange(0, 100, 7, dtype=np.uint8).reshape(1, 1, -1, 1).repeat(15, axis=1)
    floats = views.scales((10,), 10)(ramp.astype(np.float32))
    np.testing.assert_array_equal(views.scales((10,), 10)(ramp), np.round(floats))
    assert (np.asarray(floats) % 1 != 0).any()


def test_a_product_has_every_second_view_of_every_first():
    made = views.product(views.shifts(1), views.mirror())
    got = np.asarray(made(IMAGES))
    assert made.names[:4] == ("identity", "mirror", "left 1", "left 1, mirror")
    assert got.shape == (10, *IMAGES.shape) and len(made.names) == 10
    shifted = np.asarray(views.shifts(1)(IMAGES))
    np.testing.assert_array_equal(got[::2], shifted)
    np.testing.assert_array_equal(got[1::2], shifted[:, :, :, ::-1])


def test_a_product_with_crops_changes_the_size():
    made = views.product(views.mirror(), views.ten_crop(4))
    got = made(IMAGES)
    assert got.shape == (20, 3, 4, 4, 2)
    np.testing.assert_array_equal(got[10], IMAGES[:, :4, ::-1][:, :, :4])


@pytest.mark.parametrize(
    "made", [views.mirror(), views.product(views.scales((8,), 4), views.shifts(2))]
)
def test_compiled_and_plain_views_are_the_same(made):
    np.testing.assert_array_equal(jax.jit(made)(IMAGES), made(IMAGES))
    assert len(made.names) == len(set(made.names)) == made(IMAGES).shape[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: views.shifts(0), "pixels must be at least 1, got 0"),
        (lambda: views.shifts(6)(IMAGES), r"larger than a shift of 6 pixels.*\(3, 6, 9, 2\)"),
        (lambda: views.ten_crop(0), "at least 1 pixel, got 0"),
        (lambda: views.ten_crop(7)(IMAGES), r"crops of 7 x 7 .*\(3, 6, 9, 2\).*smaller crops"),
        (lambda: views.scales((), 3), "sizes must be one or more"),
        (lambda: views.scales((8, 4), 6), r"at least the 6 of the crops, got \[8, 4\]"),
        (lambda: views.mirror()(IMAGES[0]), r"must be \[N, H, W, C\]"),
    ],
)
def test_invalid_views_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_views_are_exported():
    assert augment.views is views and isinstance(views.mirror(), augment.Views)
