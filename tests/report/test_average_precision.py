"""Average precision, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cnnlab.report.average_precision import (
    Detections,
    average_precision,
    average_precisions,
    correct,
    detections,
    precision_recall,
)


def test_a_case_computed_by_hand() -> None:
    # Right, wrong, right, wrong, right of four objects: precision 1, 1/2, 2/3, 1/2, 3/5 at recall
    # 1/4, 1/4, 1/2, 1/2, 3/4; with the largest precision at that recall or more: 1, 2/3, 3/5.
    scores, right = [0.9, 0.8, 0.7, 0.6, 0.5], [True, False, True, False, True]
    precision, recall = precision_recall(scores, right, 4)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3, 1 / 2, 3 / 5])
    np.testing.assert_allclose(recall, [1 / 4, 1 / 4, 1 / 2, 1 / 2, 3 / 4])
    assert average_precision(scores, right, 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    # The order in which they come does not matter, and neither does that of equal scores.
    assert average_precision(scores[::-1], right[::-1], 4) == average_precision(scores, right, 4)
    assert average_precision([0.5, 0.5], [True, False], 1) == 0.5
    assert average_precision([0.5, 0.5], [False, True], 1) == 0.5


def test_a_dip_in_precision_is_filled_from_the_right() -> None:
    # Wrong, right, right: precision 0, 1/2, 2/3; the first object counts with 2/3, too.
    scores, right = [0.9, 0.8, 0.7], [False, True, True]
    assert average_precision(scores, right, 2) == pytest.approx(2 / 3)
    plain = average_precision(scores, right, 2, interpolated=False)
    assert plain == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_the_best_and_the_worst() -> None:
    assert average_precision([0.9, 0.1], [True, True], 2) == 1
    assert average_precision([0.9, 0.1], [False, False], 2) == 0
    assert average_precision([], [], 2) == 0
    assert average_precision([0.9, 0.1, 0.05], [True, True, False], 2) == 1


def test_without_interpolation_it_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        right = generator.random(50) < 0.4
        scores = np.round(generator.random(50) + 0.3 * right, 1)  # with equal ones
        actual = average_precision(scores, right, int(right.sum()), interpolated=False)
        assert actual == pytest.approx(average_precision_score(right, scores))
        missed = average_precision(scores, right, int(right.sum()) + 5, interpolated=False)
        assert missed == pytest.approx(actual * right.sum() / (right.sum() + 5))
        assert average_precision(scores, right, int(right.sum())) >= actual


def test_with_precision_that_only_falls_the_two_agree() -> None:
    right = np.asarray([True] * 4 + [False] * 6)
    scores = np.linspace(1, 0.1, 10)
    assert average_precision(scores, right, 4) == average_precision_score(right, scores)


# Two scenes: two objects of class 0 and one of class 1 in the first, one of class 0 in the second.
BOXES = np.asarray([[[0, 0, 4, 4], [0, 8, 4, 12], [8, 0, 12, 4]], [[0, 0, 4, 4], *[[0] * 4] * 2]])
CLASSES = np.asarray([[0, 0, 1], [0, -1, -1]])


def actual(*rows: tuple[int, int, list[float], float]) -> Detections:
    images, classes, boxes, scores = zip(*rows, strict=True)
    return Detections(*(np.asarray(each) for each in (images, classes, boxes, scores)))


def test_an_object_is_found_once_and_by_the_surest() -> None:
    every = actual(
        (0, 0, [0, 0, 4, 3], 0.6),  # IoU 3/4, but not the surest of its object
        (0, 0, [0, 0, 4, 4], 0.7),  # the surest
        (0, 0, [0, 8, 4, 10], 0.9),  # IoU 1/2: just enough
        (0, 1, [0, 0, 4, 4], 0.8),  # an object of another class
        (1, 0, [0, 8, 4, 12], 0.95),  # an object of another scene
        (1, 0, [0, 0, 3, 2], 0.5),  # IoU 3/8: too little
        (0, 1, [8, 0, 12, 4], 0.4),
    )
    right = correct(every, BOXES, CLASSES)
    assert right.tolist() == [False, True, True, False, False, False, True]
    looser = correct(every, BOXES, CLASSES, overlap=0.3)
    assert looser.tolist() == [False, True, True, False, False, True, True]
    scores = average_precisions(every, BOXES, CLASSES, 3)
    # Class 0, three objects: wrong, right, right, wrong, wrong; class 1: wrong, right.
    assert scores["classes"] == pytest.approx([2 / 3 * 2 / 3, 1 / 2, None])
    assert scores["mean"] == pytest.approx((4 / 9 + 1 / 2) / 2)
    assert scores["recall"] == pytest.approx(3 / 4)


def test_scores_of_zero_are_no_detections() -> None:
    boxes = np.arange(2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 3, 4)
    scores = np.zeros((2, 2, 3), np.float32)
    scores[1, 0, 2], scores[0, 1, 1] = 0.5, 0.25
    got = detections(boxes, scores)
    assert got.images.tolist() == [0, 1] and got.classes.tolist() == [1, 0]
    np.testing.assert_array_equal(got.boxes, [boxes[0, 1, 1], boxes[1, 0, 2]])
    nothing = detections(boxes, 0 * scores)
    assert not len(correct(nothing, BOXES, CLASSES))
    assert average_precisions(nothing, BOXES, CLASSES, 2)["mean"] == 0


def test_invalid_boxes_and_detections_are_refused() -> None:
    for arguments, message in (
        (([0.5], [True], 0), "at least one object"),
        (([0.5], [True, False], 1), "got shapes"),
        (([np.nan], [True], 1), "finite"),
        (([0.5, 0.4], [True, True], 1), "cannot be right for 1"),
    ):
        with pytest.raises(ValueError, match=message):
            average_precision(*arguments)
    one = actual((0, 0, [0, 0, 4, 4], 0.5))
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        correct(one, BOXES, CLASSES, overlap=0)
    with pytest.raises(ValueError, match="at least one object"):
        average_precisions(one, BOXES, np.full((2, 3), -1), 2)
