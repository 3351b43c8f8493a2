"""Predictions on images and image files, which need nothing but the run."""

import numpy as np
import PIL.Image
import pytest

from cnnlab.studies import trained
from cnnlab.studies.prediction import to_grey


def test_image_files_are_predicted_as_the_run_s_own_images(finished, tmp_path):
    """Grey images saved as PNG give the probabilities of the arrays, and the run's accuracy."""
    directory, result = finished
    test = trained.load_run(directory).splits.test
    networks = trained.load(directory)
    paths = [tmp_path / f"{i}.png" for i in range(len(test))]
    for path, image in zip(paths, test.images, strict=True):
        PIL.Image.fromarray(image[..., 0]).save(path)
    actual = networks.predict(paths)
    assert actual.shape == (len(test), 3) and actual.dtype == np.float32
    np.testing.assert_array_equal(actual, networks.predict(np.asarray(test.images)))
    np.testing.assert_allclose(actual.sum(axis=1), 1, rtol=1e-6)
    for member, accuracy in enumerate(result["test"]["accuracy"]["values"]):
        answers = networks.member(member).predict(paths).argmax(axis=1)
        assert (answers == test.labels).mean() == pytest.approx(accuracy)
    each = [networks.member(member).predict(paths) for member in range(2)]
    np.testing.assert_allclose(actual, np.mean(each, axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 5, 5, 1), np.uint8), r"uint8 \[n, 6, 6, 1\].*got uint8 of shape \(2, 5, 5"),
        (np.zeros((2, 6, 6, 1), np.float32), "got float32"),
        ("photo.png", r"several paths, got one: \['photo.png'\]"),
        ([], "got none"),
    ],
)
def test_images_that_do_not_fit_are_refused(finished, images, message):
    with pytest.raises(ValueError, match=message):
        trained.load(finished[0]).predict(images)


def test_grey_is_pillow_s():
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    wanted = np.asarray(PIL.Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(to_grey(colours)[..., 0], wanted)
