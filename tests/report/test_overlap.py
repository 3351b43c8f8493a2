"""IoU and Dice from counts, against scikit-learn's jaccard_score and f1_score."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from cnnlab.report import overlap


@pytest.fixture
def masks():
    generator = np.random.Generator(np.random.PCG64(0))
    truth = generator.choice(5, (3, 9, 9), p=[0.7, 0.1, 0.1, 0.05, 0.05]).astype(np.uint8)
    actual = np.where(generator.random(truth.shape) < 0.7, truth, generator.integers(0, 5))
    return truth, actual.astype(np.uint8)


def test_iou_dice_and_accuracy_equal_scikit_learn_s(masks):
    truth, actual = masks
    counts = overlap.confusion(truth, actual, 5)
    flat = truth.ravel(), actual.ravel()
    np.testing.assert_array_equal(counts, confusion_matrix(*flat))
    iou, dice = overlap.intersection_over_union(counts), overlap.dice(counts)
    np.testing.assert_allclose(iou, jaccard_score(*flat, average=None), rtol=1e-12)
    np.testing.assert_allclose(dice, f1_score(*flat, average=None), rtol=1e-12)
    mean = overlap.mean_over_classes(iou)
    np.testing.assert_allclose(mean, jaccard_score(*flat, average="macro"), rtol=1e-12)
    digits = jaccard_score(*flat, average="macro", labels=[1, 2, 3, 4])
    np.testing.assert_allclose(overlap.mean_over_classes(iou, background=False), digits)
    np.testing.assert_allclose(overlap.pixel_accuracy(counts), accuracy_score(*flat))


def test_counts_of_parts_add_up_and_figures_are_of_each_member(masks):
    truth, actual = masks
    whole = overlap.confusion(truth, actual, 5)
    parts = sum(overlap.confusion(t, f, 5) for t, f in zip(truth, actual, strict=True))
    np.testing.assert_array_equal(parts, whole)
    both = np.stack([whole, overlap.confusion(truth, truth, 5)])
    iou = overlap.intersection_over_union(both)
    np.testing.assert_array_equal(iou[1], 1)
    np.testing.assert_array_equal(iou[0], overlap.intersection_over_union(whole))


def test_a_class_that_is_nowhere_is_not_in_the_mean():
    truth = np.array([[0, 0, 1, 1]])
    counts = overlap.confusion(truth, np.array([[0, 1, 1, 1]]), 4)
    iou = overlap.intersection_over_union(counts)
    np.testing.assert_allclose(iou, [1 / 2, 2 / 3, np.nan, np.nan])
    assert overlap.mean_over_classes(iou) == pytest.approx(7 / 12)
    # One that is predicted and not present counts with zero.
    wrong = overlap.intersection_over_union(overlap.confusion(truth, truth + 1, 3))
    np.testing.assert_allclose(wrong, [0, 0, 0])
    with pytest.raises(ValueError, match="none that is a number"):
        overlap.mean_over_classes([np.nan, np.nan])


@pytest.mark.parametrize(
    ("truth", "actual", "message"),
    [
        ([0, 3], [0, 1], r"truth must be classes in 0\.\.2, got 3"),
        ([0, 1], [0, -1], r"predictions must be classes in 0\.\.2, got -1"),
        ([0, 1], [0, 1, 2], "same pixels"),
        ([0.0, 1.0], [0, 1], "truth must be integers"),
    ],
)
def test_masks_of_other_classes_are_refused(truth, actual, message):
    with pytest.raises(ValueError, match=message):
        overlap.confusion(np.array(truth), np.array(actual), 3)
