"""Pooling of regions: by loops, as PyTorch does it, and the stages that are made of it."""

import functools
import math
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models.regions import (
    RegionHead,
    Regions,
    region_network,
    roi_align,
    roi_pool,
    sliding_windows,
)

SIZE, SCALE = 3, 0.25


def pooled_by_loops(features: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Cell by cell, with torchvision's formula."""
    height, width, channels = features.shape
    out = np.zeros((len(boxes), SIZE, SIZE, channels))
    for region, box in enumerate(boxes):
        top, left, bottom, right = (
            int(math.copysign(math.floor(abs(SCALE * side) + 0.5), side)) for side in box
        )
        tall, wide = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for p in range(SIZE):
            for q in range(SIZE):
                rows = range(top + p * tall // SIZE, top - (-(p + 1) * tall // SIZE))
                columns = range(left + q * wide // SIZE, left - (-(q + 1) * wide // SIZE))
                cells = [
                    features[h, w]
                    for h in rows
                    for w in columns
                    if 0 <= h < height and 0 <= w < width
                ]
                if cells:
                    out[region, p, q] = np.max(cells, axis=0)
    return out


def aligned_by_loops(features: np.ndarray, boxes: np.ndarray, samples: int = 2) -> np.ndarray:
    """Point by point."""
    height, width, channels = features.shape
    out = np.zeros((len(boxes), SIZE, SIZE, channels))

    def point(y: float, x: float) -> np.ndarray:
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = min(int(y), height - 2), min(int(x), width - 2)
        down, right = y - top, x - left
        return (
            (1 - down) * (1 - right) * features[top, left]
            + (1 - down) * right * features[top, left + 1]
            + down * (1 - right) * features[top + 1, left]
            + down * right * features[top + 1, left + 1]
        )

    for region, box in enumerate(boxes):
        y0, x0, y1, x1 = SCALE * np.asarray(box) - 0.5
        for p in range(SIZE):
            for q in range(SIZE):
                for i in range(samples):
                    for j in range(samples):
                        y = y0 + (p + (i + 0.5) / samples) * (y1 - y0) / SIZE
                        x = x0 + (q + (j + 0.5) / samples) * (x1 - x0) / SIZE
                        out[region, p, q] += point(y, x) / samples**2
    return out


@pytest.fixture(scope="module")
def data(reference: Any) -> Any:
    """Features, boxes and PyTorch's numbers."""
    script, numbers = reference("regions_torch")
    return script.features(), script.boxes(), numbers


@pytest.fixture(scope="module")
def computed(data: Any, quick_jit: Any) -> Any:
    """Both poolings and what small changes in features and boxes do to a sum of them, float64."""
    features, boxes, _ = data

    def total(pool: Any, weights: jax.Array, features: jax.Array, boxes: jax.Array) -> jax.Array:
        return jnp.sum(weights * pool(features, boxes, SIZE, SCALE))

    def run(features: jax.Array, boxes: jax.Array, weights: jax.Array) -> Any:
        results = {}
        for name, pool in (("pool", roi_pool), ("align", roi_align)):
            gradients = jax.grad(functools.partial(total, pool, weights), (0, 1))
            results[name] = pool(features, boxes, SIZE, SCALE), gradients(features, boxes)
        return results

    weights = np.random.default_rng(0).normal(size=(len(boxes), SIZE, SIZE, features.shape[2]))
    with jax.enable_x64(True):
        return weights, jax.device_get(quick_jit(run)(features, boxes, weights))


@pytest.mark.parametrize(
    ("name", "by_loops"), [("pool", pooled_by_loops), ("align", aligned_by_loops)]
)
def test_regions_are_pooled_as_by_loops_and_as_by_pytorch(
    data: Any, computed: Any, name: str, by_loops: Any
) -> None:
    features, boxes, numbers = data
    pooled = computed[1][name][0]
    np.testing.assert_allclose(pooled, by_loops(features, boxes), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pooled, numbers[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "by_loops"), [("pool", pooled_by_loops), ("align", aligned_by_loops)]
)
def test_gradients_are_finite_differences(
    data: Any, computed: Any, name: str, by_loops: Any
) -> None:
    features, boxes, _ = data
    weights, results = computed
    by_features, by_boxes = results[name][1]
    generator = np.random.default_rng(1)

    def slope(features_by: Any, boxes_by: Any) -> float:
        step = 1e-6
        ends = [
            np.sum(weights * by_loops(features + sign * features_by, boxes + sign * boxes_by))
            for sign in (step, -step)
        ]
        return float(ends[0] - ends[1]) / (2 * step)

    along = generator.normal(size=features.shape)
    np.testing.assert_allclose(np.sum(by_features * along), slope(along, 0), rtol=1e-6)
    along = generator.normal(size=boxes.shape)
    along[:4] = 0  # boxes at the image's edge, where there is a kink
    if name == "pool":
        assert not by_boxes.any()
    else:
        np.testing.assert_allclose(np.sum(by_boxes * along), slope(0, along), rtol=1e-6)


def test_boxes_out_of_the_image_keep_their_bins_and_what_lies_outside_is_zero(
    quick_jit: Any,
) -> None:
    features = np.arange(1.0, 17.0, dtype=np.float32).reshape(4, 4, 1)
    boxes = np.asarray([[-12, 0, 12, 12], [40, 40, 50, 50], [8, 8, 4, 4]], np.float32)
    pooled = quick_jit(lambda *x: roi_pool(*x, SIZE, SCALE))(features, boxes)
    np.testing.assert_array_equal(pooled, pooled_by_loops(features, boxes))
    assert not pooled[0, 0].any() and not pooled[1].any()
    assert (np.asarray(pooled[2]) == features[2, 2]).all()  # an empty box is one cell


def test_aligned_pooling_of_a_slope_is_the_slope_at_the_middle_of_each_bin(
    quick_jit: Any,
) -> None:
    rows, columns = np.mgrid[:8, :8] + 0.5
    features = jnp.asarray(2 * rows - 3 * columns, jnp.float32)[..., None]
    box = jnp.asarray([[4.0, 6.0, 26.0, 20.0]])
    pooled = quick_jit(lambda *x: roi_align(*x, 2, SCALE))(features, box)[0, :, :, 0]
    y, x = (1 + np.array([1.375, 4.125])), 1.5 + np.array([0.875, 2.625])
    np.testing.assert_allclose(pooled, 2 * y[:, None] - 3 * x, rtol=1e-5)


# Above and to the left of the image, with halves of cells: -6 / 4 is cell -2, as C rounds it.
OUTSIDE = np.asarray([[-6, -10, 10, 14], [-2, -6, 6, 10], [-18, 2, -2, 22], [2, 6, 10, 14.0]])


def test_boxes_that_begin_outside_the_image_round_halves_away_from_zero(quick_jit: Any) -> None:
    # Cell i of the one row holds i + 1: the largest cell of a bin is its last.
    features = np.arange(1.0, 13)[None, :, None].repeat(3, axis=0).astype(np.float32)
    pooled = quick_jit(lambda *x: roi_pool(*x, SIZE, SCALE))(features, OUTSIDE)
    # Cells -3 .. 4, and three bins of 8 cells end after 3, 6 and 8 of them: after -1, 2 and 4.
    np.testing.assert_array_equal(pooled[0, 2, :, 0], [0, 3, 5])
    np.testing.assert_array_equal(pooled, pooled_by_loops(features, OUTSIDE))
    just_below = np.nextafter(np.float32(0.5), np.float32(0))
    boxes = np.asarray([[0, 4 * just_below, 0, 4 * just_below]])
    np.testing.assert_array_equal(roi_pool(jnp.asarray(features), boxes, 1, SCALE), [[[[1]]]])


def test_boxes_that_begin_outside_are_pooled_as_by_torchvision(data: Any) -> None:
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    features = data[0].astype(np.float32)
    maps = torch.from_numpy(features).permute(2, 0, 1)[None]
    boxes = torch.from_numpy(OUTSIDE[:, [1, 0, 3, 2]].astype(np.float32))  # x first there
    wanted = ops.roi_pool(maps, [boxes], SIZE, SCALE).permute(0, 2, 3, 1)
    pooled = roi_pool(jnp.asarray(features), jnp.asarray(OUTSIDE, jnp.float32), SIZE, SCALE)
    np.testing.assert_allclose(pooled, wanted.numpy(), rtol=1e-6)


@pytest.mark.parametrize(("pooling", "pool"), [("max", roi_pool), ("align", roi_align)])
def test_the_stage_pools_each_image_as_the_function_does(
    quick_jit: Any, pooling: str, pool: Any
) -> None:
    windows = sliding_windows((16, 24), ((9, 8), (16, 5)), step=0.4)
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 2)).astype(np.float32)
    boxes = jnp.asarray(windows, jnp.float32)

    def both(x: jax.Array) -> Any:
        stage = Regions(windows, (16, 24), 4, SIZE, pooling)  # type: ignore[arg-type]
        weights = jnp.cos(jnp.arange(len(windows) * SIZE * SIZE * 2.0))

        def total(x: jax.Array, pool: Any) -> Any:
            out = pool(x)
            return jnp.sum(out.reshape(2, -1) * weights), out

        computed = jax.value_and_grad(
            functools.partial(total, pool=lambda x: stage.apply({}, x)), has_aux=True
        )
        one = jax.vmap(lambda image: pool(image, boxes, SIZE, SCALE))
        return computed(x), jax.value_and_grad(functools.partial(total, pool=one), has_aux=True)(x)

    computed, expected = quick_jit(both)(x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), computed, expected
    )


def test_windows_cover_the_image_from_edge_to_edge() -> None:
    windows = np.asarray(sliding_windows((32, 48), ((16, 12), (32, 48)), step=0.5))
    first = windows[:-1]
    assert len(first) == 3 * 7 and windows[-1].tolist() == [0, 0, 32, 48]
    assert set(first[:, 0]) == {0, 8, 16} and set(first[:, 1]) == {0, 6, 12, 18, 24, 30, 36}
    assert (first[:, 2] - first[:, 0] == 16).all() and (first[:, 3] - first[:, 1] == 12).all()


def test_the_head_classifies_every_region_alike(quick_jit: Any) -> None:
    head = RegionHead(num_classes=2, hidden=(5,))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 2, 2, 3)), jnp.bfloat16)
    out, variables = quick_jit(head.init_with_output)(jax.random.key(0), x)
    assert out.shape == (2, 4, 2 + 1 + 4) and out.dtype == jnp.float32
    params = variables["params"]
    assert {name: params[name]["kernel"].shape for name in params} == {
        "dense1": (12, 5),
        "classes": (5, 3),
        "boxes": (5, 4),
    }
    hidden = np.maximum(np.asarray(x[1, 2], np.float32).reshape(-1) @ params["dense1"]["kernel"], 0)
    expected = [hidden @ params[name]["kernel"] for name in ("classes", "boxes")]
    np.testing.assert_allclose(out[1, 2], np.concatenate(expected), rtol=1e-4, atol=1e-6)


def test_a_classifiers_front_becomes_a_detector_with_its_names() -> None:
    front = models.Network(models.create("resnet8", 10, width=2).stages[:-2])  # up to stage2
    windows = sliding_windows((16, 16), ((8, 8),))
    how = {"image_size": (16, 16), "num_classes": 3, "hidden": (4, 6)}
    network = region_network(front, windows, stride=2, **how)
    images = jax.ShapeDtypeStruct((2, 16, 16, 1), jnp.float32)
    out, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    assert out.shape == (2, len(windows), 8)
    assert network.names == ("stem", "stage1", "stage2", "regions", "head")
    assert set(variables["params"]) == {"stem", "stage1", "stage2", "head"}
    for stride in (1, 4):
        wrong = region_network(front, windows, stride=stride, **how)
        with pytest.raises(ValueError, match=r"image_size / stride cells.*got 8 x 8 for .*16, 16"):
            jax.eval_shape(wrong.init, jax.random.key(0), images)
    how["image_size"] = (16, 15)
    odd = region_network(front, sliding_windows((16, 15), ((8, 8),)), stride=2, **how)
    jax.eval_shape(odd.init, jax.random.key(0), jax.ShapeDtypeStruct((2, 16, 15, 1), jnp.float32))


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (
            ((0, 0, 3, 8),),
            "at least one cell of the features large, 4 x 4 pixels, got one of 3 x 8",
        ),
        (((0, 0, 17, 8),), "must lie inside the image, 16 x 16 pixels"),
        (((-1, 0, 8, 8),), "must lie inside the image"),
        (((8, 8, 8, 8),), "at least one cell"),
        ((), "windows must be boxes"),
    ],
)
def test_windows_that_cannot_be_pooled_are_refused(windows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Regions(windows, (16, 16), 4).apply({}, jnp.zeros((1, 4, 4, 1)))


def test_invalid_arguments_are_refused() -> None:
    features, boxes = jnp.zeros((4, 4, 1)), jnp.zeros((1, 4))
    with pytest.raises(ValueError, match="For several images: jax.vmap"):
        roi_pool(features[None], boxes, 2, 0.25)
    with pytest.raises(ValueError, match="size=0"):
        roi_align(features, boxes, 0, 0.25)
    with pytest.raises(ValueError, match="at least 1 point"):
        roi_align(features, boxes, 2, 0.25, samples=0)
    with pytest.raises(ValueError, match="fit into images of 8 x 8, got 9 x 4"):
        sliding_windows((8, 8), ((9, 4),))
    with pytest.raises(ValueError, match="at least one shape"):
        sliding_windows((8, 8), ())
    with pytest.raises(ValueError, match="align"):
        wrong = Regions(((0, 0, 8, 8),), (16, 16), 4, pooling="algin")  # type: ignore[arg-type]
        wrong.apply({}, jnp.zeros((1, 4, 4, 1)))
