"""Matching, coding and suppressing boxes, and the loss of windows, against plain computations."""

import math
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy.special import log_softmax, softmax

from cnnlab.transfer.detection import (
    IGNORED,
    SCALES,
    check_objects,
    decode,
    detect,
    detection_loss,
    encode,
    iou,
    nms,
    smooth_l1,
    targets,
    window_score,
    window_weights,
)

WINDOWS = np.asarray([[0, 0, 8, 8], [0, 4, 8, 12], [4, 8, 12, 16], [8, 0, 16, 8]], np.float32)


def random_boxes(count: int, seed: int, side: float = 20) -> np.ndarray:
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, side - 6, (count, 2))
    return np.hstack([low, low + generator.uniform(2, 6, (count, 2))]).astype(np.float32)


def iou_of_two(first: Any, second: Any) -> float:
    height = max(0, min(first[2], second[2]) - max(first[0], second[0]))
    width = max(0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)]
    union = sum(areas) - height * width
    return height * width / union if union else 0.0


def test_iou_of_every_pair(quick_jit: Any) -> None:
    boxes = np.concatenate([random_boxes(6, 0), [[0, 0, 0, 0], [3, 3, 3, 9]]]).astype(np.float32)
    others = np.concatenate([random_boxes(4, 1), boxes[:1], [[0, 0, 0, 0]]]).astype(np.float32)
    expected = [[iou_of_two(a, b) for b in others.astype(float)] for a in boxes.astype(float)]
    np.testing.assert_allclose(quick_jit(iou)(boxes, others), expected, atol=1e-6)


def test_corrections_are_those_of_rcnn_and_undo_each_other(quick_jit: Any) -> None:
    window, box = np.asarray([10.0, 20, 30, 60]), np.asarray([12.0, 10, 52, 30])
    by_hand = [(32 - 20) / 20, (20 - 40) / 40, math.log(40 / 20), math.log(20 / 40)]
    raw, scaled = quick_jit(lambda w, b: (encode(w, b, (1, 1, 1, 1)), encode(w, b)))(window, box)
    np.testing.assert_allclose(raw, by_hand, rtol=1e-5)
    np.testing.assert_allclose(scaled, np.divide(by_hand, SCALES), rtol=1e-5)
    windows, boxes = random_boxes(20, 2), random_boxes(20, 3)
    back, cut = quick_jit(
        lambda w, b: (decode(w, encode(w, b)), decode(w, encode(w, b), image_size=(8, 10)))
    )(windows, boxes)
    np.testing.assert_allclose(back, boxes, atol=1e-4)
    np.testing.assert_allclose(cut, np.clip(boxes, 0, [8, 10, 8, 10]), atol=1e-4)


def test_a_correction_cannot_grow_without_bounds(quick_jit: Any) -> None:
    grown = quick_jit(decode)(jnp.asarray([0.0, 0, 2, 2]), jnp.asarray([0.0, 0, 1e4, 0]))
    np.testing.assert_allclose(grown, [1 - 62.5, 0, 1 + 62.5, 2], rtol=1e-5)


def test_windows_are_matched_to_the_object_that_they_overlap_most() -> None:
    boxes = np.asarray([[[0, 0, 8, 8], [0, 6, 8, 12]], [[5, 8, 13, 16], [0, 0, 0, 0]]], np.float32)
    classes = np.asarray([[2, 0], [1, -1]], np.int32)
    actual = targets(WINDOWS, boxes, classes, background=(0.1, 0.4))
    # In the first scene the second window overlaps the first object by 1/3 and the second by 3/4;
    # in the second scene the third window overlaps its object by 7/9.
    assert actual[0, :, 0].tolist() == [3, 1, 0, IGNORED]
    assert actual[1, :, 0].tolist() == [IGNORED, 0, 2, IGNORED]
    assert actual.dtype == np.float32 and not actual[actual[..., 0] <= 0][:, 1:].any()
    np.testing.assert_allclose(actual[0, 1, 1:], encode(WINDOWS[1], boxes[0, 1]), atol=1e-6)
    np.testing.assert_allclose(actual[1, 2, 1:], [0.125 / 0.1, 0, 0, 0], atol=1e-5)
    assert targets(WINDOWS, boxes, classes)[1, 0, 0] == 0  # by default every other one counts


def outputs_and_targets(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    outputs = generator.normal(size=(3, 6, 3 + 1 + 4)).astype(np.float32)
    goals = generator.normal(size=(3, 6, 5)).astype(np.float32)
    goals[..., 0] = [[0, 1, 3, 0, -1, 0], [0, 0, 0, -1, 0, 0], [2, -1, -1, 1, -1, -1]]
    return outputs, goals


def test_the_loss_is_the_papers_written_out(quick_jit: Any) -> None:
    outputs, goals = outputs_and_targets()
    expected = []
    for image, goal in zip(outputs.astype(float), goals.astype(float), strict=True):
        kinds = goal[:, 0].astype(int)
        fronts, backs = (kinds > 0).sum(), (kinds == 0).sum()
        share = 0.25 if fronts and backs else 1.0
        total = 0.0
        for row, kind, box in zip(image, kinds, goal[:, 1:], strict=True):
            if kind < 0:
                continue
            entropy = -log_softmax(row[:4])[kind]
            errors = np.abs(row[4:] - box)
            location = np.where(errors < 1, errors**2 / 2, errors - 0.5).sum()
            if kind:
                total += share / fronts * (entropy + 2 * location)
            else:
                total += (1 - share if fronts else 1) / backs * entropy
        expected.append(total)
    loss = detection_loss(box_weight=2.0)
    labels = jnp.zeros(3, jnp.int32)
    actual = quick_jit(loss)(outputs, labels, goals)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_weights_are_one_to_three_and_an_image_counts_once(quick_jit: Any) -> None:
    _, goals = outputs_and_targets()
    goals = np.concatenate([goals, np.full((1, 6, 5), IGNORED)])
    weights = np.asarray(quick_jit(window_weights)(goals[..., 0]))
    assert not weights[3].any()
    weights = weights[:3]
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert weights[0].tolist() == [0.25, 0.125, 0.125, 0.25, 0, 0.25]
    assert weights[2].tolist() == [0.5, 0, 0, 0.5, 0, 0]


def test_without_box_weight_corrections_have_no_gradient(quick_jit: Any) -> None:
    outputs, goals = outputs_and_targets()

    def gradients(outputs: jax.Array) -> Any:
        return [
            jax.grad(lambda x, w=w: detection_loss(box_weight=w)(x, x[:, 0, 0], goals).sum())(
                outputs
            )
            for w in (0.0, 1.0)
        ]

    without, with_boxes = quick_jit(gradients)(outputs)
    assert not np.asarray(without)[..., 4:].any()
    moved = np.asarray(with_boxes)[..., 4:].any(-1)
    np.testing.assert_array_equal(moved, goals[..., 0] > 0)


def test_the_score_weighs_windows_as_the_loss_does(quick_jit: Any) -> None:
    outputs, goals = outputs_and_targets()
    outputs[..., :4] = 0
    outputs[..., 0] = 1.0  # all are predicted to be background
    score = quick_jit(window_score)(outputs, np.zeros(3), goals)
    np.testing.assert_allclose(score, [0.75, 1, 0], rtol=1e-6)


def test_smooth_l1_is_square_near_zero_and_straight_elsewhere(quick_jit: Any) -> None:
    actual = quick_jit(smooth_l1)(np.asarray([-3.0, -1, -0.5, 0, 0.5, 2]))
    np.testing.assert_allclose(actual, [2.5, 0.5, 0.125, 0, 0.125, 1.5])


def suppressed_by_loops(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    left, kept = sorted(range(len(boxes)), key=lambda i: (-scores[i], i)), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if iou_of_two(boxes[best], boxes[i]) <= threshold]
    return sorted(kept)


def test_suppression_is_that_of_the_plain_loop(quick_jit: Any) -> None:
    boxes = np.stack([random_boxes(40, seed, side=14) for seed in range(4)])
    scores = np.random.default_rng(0).integers(0, 12, (4, 40)) / 12  # with equal ones
    run = quick_jit(jax.vmap(nms, in_axes=(0, 0, None)))
    for threshold in (0.0, 0.3, 0.7):
        stays = np.asarray(run(boxes, scores.astype(np.float32), threshold))
        for image in range(4):
            expected = suppressed_by_loops(boxes[image].astype(float), scores[image], threshold)
            assert np.flatnonzero(stays[image]).tolist() == expected


def test_detections_are_the_best_boxes_of_each_class() -> None:
    logits = np.full((1, 4, 3), -9.0, np.float32)
    logits[0, :, 0] = 0  # background
    logits[0, 0, 1], logits[0, 1, 1], logits[0, 2, 2], logits[0, 3, 1] = 3, 2, 1, -2
    outputs = np.concatenate([logits, np.zeros((1, 4, 4), np.float32)], axis=-1)
    outputs[0, 2, 3:] = [5, 0, 0, 0]  # half its height down
    actual = detect(outputs, WINDOWS, image_size=(16, 16), threshold=0.3, smallest=0.2)
    probabilities = softmax(logits[0].astype(float), axis=1)
    assert actual.boxes.shape == (1, 2, 4, 4) and actual.scores.shape == (1, 2, 4)
    first, second = (np.flatnonzero(actual.scores[0, k]) for k in (0, 1))
    # Of class 0 the second window lies over the first one, the fourth is too improbable.
    assert first.tolist() == [0] and second.tolist() == [0]
    np.testing.assert_allclose(actual.scores[0, :, 0], [probabilities[0, 1], probabilities[2, 2]])
    np.testing.assert_allclose(actual.boxes[0, :, 0], [WINDOWS[0], [8, 8, 16, 16]], atol=1e-5)
    plain = detect(outputs, WINDOWS, image_size=(16, 16), corrected=False, candidates=2)
    np.testing.assert_allclose(plain.boxes[0, 1, 0], WINDOWS[2])
    assert plain.boxes.shape == (1, 2, 2, 4)


def test_boxes_and_numbers_that_make_no_sense_are_refused() -> None:
    boxes = np.asarray([[[0, 0, 4, 4], [0, 0, 0, 0]]], np.float32)
    classes = np.asarray([[1, -1]], np.int32)
    check_objects(boxes, classes, (8, 8), 2)
    for bad, kinds, size, number, message in (
        (boxes, np.full((1, 2), -1, np.int32), (8, 8), 2, "at least one object to detect"),
        (boxes, np.asarray([[1, 0]], np.int32), (8, 8), 2, "must not be empty"),
        (boxes, classes, (3, 8), 2, "lie inside the image, 3 x 8 pixels"),
        (boxes - 1, classes, (8, 8), 2, "lie inside the image"),
        (boxes, classes, (8, 8), 1, r"classes must be in 0\.\.0"),
        (boxes[0], classes, (8, 8), 2, r"boxes must be \[N, D, 4\]"),
    ):
        with pytest.raises(ValueError, match=message):
            check_objects(bad, kinds, size, number)
    for call, message in (
        (lambda: targets(WINDOWS, boxes, classes, foreground=0), "must hold"),
        (lambda: targets(WINDOWS, boxes, classes, background=(0.5, 0.2)), "must hold"),
        (lambda: detection_loss(box_weight=-1), "box_weight"),
        (lambda: detection_loss(foreground=1), "foreground"),
        (lambda: detect(np.zeros((1, 3, 7)), WINDOWS, image_size=(8, 8)), "for R = 4 windows"),
        (lambda: detect(np.zeros((1, 4, 7)), WINDOWS, image_size=(8, 8), threshold=2), "threshold"),
        (
            lambda: detection_loss()(jnp.zeros((1, 4, 7)), jnp.zeros(1), jnp.zeros((1, 4, 4))),
            r"targets \[N, R, 5\]",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
