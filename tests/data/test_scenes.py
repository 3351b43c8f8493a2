"""Scenes: digits are where masks and boxes are, and parts share no digit or background."""

import dataclasses

import numpy as np
import pytest

from cnnlab.data import Dataset, load
from cnnlab.data.backgrounds import photographs
from cnnlab.data.scenes import compose, labelled, masked


def squares(count=4, side=6, label=1):
    """Images with a full square of ink in the middle, two pixels from each side."""
    images = np.zeros((count, side + 4, side + 4, 1), np.uint8)
    images[:, 2:-2, 2:-2] = 255
    return Dataset(images, np.full(count, label, np.int32), ("a", "b", "c"), "squares")


@pytest.fixture(scope="module")
def digits():
    return load("digits").train


def test_a_square_is_drawn_where_its_mask_and_box_are():
    grey = np.full((1, 40, 40, 1), 100, np.uint8)
    scenes = compose(
        squares(),
        count=8,
        size=40,
        digits=(1, 1),
        backgrounds=grey,
        contrast=(60, 60),
        resize="nearest",
        seed=0,
    )
    for image, mask, boxes, classes in zip(*scenes, strict=True):
        top, left, bottom, right = boxes[0].astype(int)
        wanted = np.zeros((40, 40), bool)
        wanted[top:bottom, left:right] = True
        np.testing.assert_array_equal(mask, 2 * wanted)  # class 1, after the background
        assert classes.tolist() == [1]
        # The middle of the square has the whole contrast, up or down; outside is the background.
        middle = image[(top + bottom) // 2, (left + right) // 2, 0]
        assert abs(int(middle) - 100) == 60
        np.testing.assert_array_equal(image[..., 0][~wanted], 100)
        assert 0.3 * 40 - 1 <= max(bottom - top, right - left) <= 0.55 * 40 + 1


def test_masks_hold_the_ink_over_the_threshold_at_the_digit_s_own_size():
    digit = load("digits").train.take([3])
    ink = digit.images[0, ..., 0] > 96
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longest = max(ink.shape)
    scenes = compose(
        digit,
        count=1,
        size=32,
        digits=(1, 1),
        scale=(longest / 32, longest / 32),
        resize="nearest",
        seed=1,
    )
    y0, x0, y1, x1 = scenes.boxes[0, 0].astype(int)
    np.testing.assert_array_equal(scenes.masks[0, y0:y1, x0:x1] > 0, ink)


def test_boxes_are_the_smallest_that_hold_the_mask_where_digits_do_not_overlap(digits):
    scenes = compose(digits, count=40, size=48, digits=(1, 3), overlap=0.0, seed=2)
    for mask, boxes, classes in zip(*scenes[1:], strict=True):
        covered = np.zeros_like(mask, bool)
        for box, k in zip(boxes, classes, strict=True):
            y0, x0, y1, x1 = box.astype(int)
            if k < 0:
                assert not box.any()
                continue
            assert not covered[y0:y1, x0:x1].any()
            covered[y0:y1, x0:x1] = True
            inside = mask[y0:y1, x0:x1]
            assert set(np.unique(inside)) <= {0, k + 1}
            assert all(line.any() for line in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
        assert not mask[~covered].any()
    counts = (scenes.classes >= 0).sum(1)
    assert set(counts) == {1, 2, 3}


def test_the_same_seed_gives_the_same_scenes_and_another_one_others(digits):
    first, again, other = (compose(digits, count=3, size=32, seed=s) for s in (5, 5, 6))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.images != other.images).any()


def test_parts_have_photographs_and_digits_of_their_own():
    from sklearn.datasets import load_sample_image

    strips = [photographs(part) for part in ("train", "validation", "test")]
    whole = np.stack([load_sample_image(name) for name in ("china.jpg", "flower.jpg")])
    np.testing.assert_array_equal(np.concatenate(strips, axis=2), whole)
    # Scenes of a data set with one class only have this class only.
    scenes = compose(
        squares(label=2), count=5, size=64, digits=(2, 2), backgrounds=strips[2], seed=0
    )
    assert scenes.images.shape == (5, 64, 64, 3)
    assert set(np.unique(scenes.masks)) == {0, 3}


def test_scenes_become_data_sets_for_segmentation_and_for_a_classifier(digits):
    scenes = compose(digits, count=6, size=32, digits=(1, 1), seed=0)
    masks, labels = masked(scenes, digits), labelled(scenes, digits)
    assert masks.class_names == ("background", *digits.class_names)
    np.testing.assert_array_equal(masks.annotations.max((1, 2)), labels.labels + 1)
    np.testing.assert_array_equal(masks.labels, labels.labels + 1)
    assert masks.statistics.mean == pytest.approx([scenes.images.mean()])
    several = scenes._replace(classes=np.zeros((6, 2), np.int32))
    with pytest.raises(ValueError, match="one digit each"):
        labelled(several, digits)
    with pytest.raises(ValueError, match=r"masks must be in 0\.\.10.* got 22"):
        masked(scenes._replace(masks=scenes.masks + np.uint8(2 * 6)), digits)


@pytest.mark.parametrize("part", ["train", "validation", "test", None])
def test_scenes_are_of_the_part_of_their_digits(digits, part):
    digits = dataclasses.replace(digits, part=part)
    scenes = compose(digits, count=2, size=32, digits=(1, 1), seed=0)
    assert masked(scenes, digits).part == labelled(scenes, digits).part == part


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "at least one scene"),
        ({"size": 12}, "too small: the smallest digits would have 3.6 pixels"),
        ({"digits": (3, 2)}, "fewest <= most"),
        ({"digits": (40, 40)}, "too small for 40 digits"),
        ({"scale": (0.5, 1.5)}, "two fractions"),
        ({"contrast": (50, 200)}, "contrast"),
        ({"overlap": 1.0}, "overlap"),
        ({"threshold": 255}, "threshold"),
        ({"resize": "bilinaer"}, "Did you mean 'bilinear'"),
        ({"backgrounds": np.zeros((1, 16, 40, 3), np.uint8)}, "at least as large as the scenes"),
        ({"backgrounds": np.zeros((1, 40, 40, 3))}, "uint8"),
    ],
)
def test_invalid_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        compose(squares(), **{"count": 2, "size": 32, **settings})


def test_images_that_are_no_digits_are_refused():
    empty = dataclasses.replace(squares(), images=np.zeros((4, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="no digits: 100 images"):
        compose(empty, count=1, size=32)
    colour = dataclasses.replace(squares(), images=np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="grey images.*got 3 channels"):
        compose(colour, count=1, size=32)
    with pytest.raises(ValueError, match="unknown part 'tset'. Did you mean 'test'"):
        photographs("tset")
