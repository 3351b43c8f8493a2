"""Methods beside the autoencoder: closed forms, and settings chosen on validation."""

import numpy as np
import pytest

from cnnlab.report.image_scores import mean_squared_error, psnr
from experiments.autoencoder import colour, methods
from experiments.autoencoder.data import Pairs
from experiments.autoencoder.methods import Method
from experiments.autoencoder.photographs import load_patches


def noisy_pairs(count, noise=0.1, seed=0, size=6):
    """Images of two factors, with normal noise."""
    generator = np.random.Generator(np.random.PCG64(seed))
    basis = np.random.Generator(np.random.PCG64(9)).normal(size=(2, size * size)) / size
    clean = 0.5 + generator.normal(size=(count, 2)) @ basis
    clean = np.clip(clean, 0, 1).reshape(count, size, size, 1).astype(np.float32)
    noise = noise * generator.normal(size=clean.shape).astype(np.float32)
    return Pairs(clean + noise, clean)


def test_components_are_the_projection_of_the_singular_value_decomposition():
    images = noisy_pairs(40).seen
    flat = images.reshape(40, -1).astype(np.float64)
    centred = flat - flat.mean(0)
    _, _, right = np.linalg.svd(centred, full_matrices=False)
    wanted = centred @ right[:3].T @ right[:3] + flat.mean(0)
    actual = methods.principal_components(images, 3).apply(images)
    np.testing.assert_allclose(actual.reshape(40, -1), wanted, atol=1e-5)


def test_as_many_components_as_factors_give_all_back():
    clean = noisy_pairs(50).clean
    inside = (clean > 0).all((1, 2, 3)) & (clean < 1).all((1, 2, 3))
    actual = methods.principal_components(clean[inside], 2).apply(clean[inside])
    np.testing.assert_allclose(actual, clean[inside], atol=1e-5)


def test_the_best_linear_map_beats_filters_where_images_have_few_factors():
    train, validation = noisy_pairs(400), noisy_pairs(100, seed=1)
    fitted = {
        **methods.filters(validation, 0.1),
        "linear": methods.linear_map(train, validation),
    }
    test = noisy_pairs(100, seed=2)
    errors = {
        name: mean_squared_error(images, test.clean).mean()
        for name, images in methods.apply_methods(fitted, test.seen).items()
    }
    assert min(errors, key=errors.get) == "linear"
    assert errors["linear"] < 0.5 * 0.1**2  # the noise itself


def test_a_setting_is_the_best_of_its_kind_on_validation():
    validation = noisy_pairs(20)

    def shifted(by, seen):
        return validation.clean + by

    chosen = methods.best_on_validation(shifted, "by", (0.3, 0.05, 0.1), validation)
    assert chosen.setting == "by 0.05"
    np.testing.assert_allclose(chosen.apply(validation.seen), validation.clean + 0.05)


@pytest.mark.parametrize(("noise", "least"), [(0.02, 0.3), (0.5, 1.0)])
def test_more_noise_wants_a_wider_filter(noise, least):
    actual = methods.filters(noisy_pairs(30, noise, size=12), noise)["gaussian filter"]
    assert float(actual.setting.removeprefix("sigma ")) >= least
    assert (actual.setting == "sigma 2") == (noise == 0.5)


def test_constant_images_survive_the_wiener_filter():
    flat = np.full((4, 8, 8, 1), 0.25, np.float32)
    actual = methods.filters(Pairs(flat, flat), None)["Wiener filter"].apply(flat)
    np.testing.assert_allclose(actual, flat)


def test_colours_that_follow_from_the_grey_value_are_found():
    generator = np.random.Generator(np.random.PCG64(0))
    grey = generator.uniform(0.2, 0.8, (30, 8, 8, 1))
    tint = np.where(grey > 0.5, 0.1, -0.1) * np.asarray([1.0, -0.509, 0.0])  # of no luma, nearly
    clean = (grey + tint).astype(np.float32)
    seen = np.broadcast_to(colour.luma(clean), clean.shape)
    actual = methods.apply_methods(methods.colourings(clean), seen)
    quality = {name: psnr(images, clean).mean() for name, images in actual.items()}
    assert quality["mean chroma of the grey value"] > 30 > quality["mean chroma"]


def test_luma_is_corrected_and_colours_stay():
    generator = np.random.Generator(np.random.PCG64(0))
    images, seen = generator.random((2, 3, 4, 4, 3)), generator.random((3, 4, 4, 1)).repeat(3, -1)
    actual = colour.with_luma(images, seen)
    np.testing.assert_allclose(colour.luma(actual), np.stack([seen[..., :1]] * 2), atol=1e-12)
    chroma = images - colour.luma(images)
    np.testing.assert_allclose(actual - colour.luma(actual), chroma, atol=1e-12)
    np.testing.assert_allclose(colour.saturation(actual), np.sqrt((chroma**2).mean((2, 3, 4))))
    np.testing.assert_allclose(colour.saturation(seen), 0, atol=1e-12)


def test_answers_are_cut_off_at_black_and_white():
    actual = methods.apply_methods(
        {"loud": Method(lambda x: 5 * x - 1)}, np.eye(2)[None, ..., None]
    )
    np.testing.assert_array_equal(actual["loud"][0, ..., 0], np.eye(2))


def test_photographs_come_in_parts_that_share_no_pixel():
    splits = load_patches("photographs:32")
    assert splits.train.class_names == ("china", "flower")
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [312, 104, 104]
    assert splits.test.statistics == splits.train.statistics
    from sklearn.datasets import load_sample_image

    flower = load_sample_image("flower.jpg")
    np.testing.assert_array_equal(splits.test.images[52], flower[:32, 512:544])
    with pytest.raises(ValueError, match="side of 2 to 80"):
        load_patches("photographs:3x3")
