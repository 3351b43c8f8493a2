"""Losses of half-precision outputs are those of the same numbers in float32."""

import ml_dtypes
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.losses import dense, distillation, logits_matching, softmax_cross_entropy
from cnnlab.losses.reconstruction import reconstruction

GENERATOR = np.random.default_rng(0)
LABELS = jnp.asarray([0, 2])
LOGITS, TARGETS = GENERATOR.normal(size=(2, 2, 3)) * 400
PIXELS, MASKS = GENERATOR.normal(size=(2, 4, 4, 3)) * 400, GENERATOR.integers(0, 3, (2, 4, 4))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    ("loss", "outputs", "given"),
    [
        (softmax_cross_entropy, LOGITS, (LABELS,)),
        (distillation(20.0), LOGITS, (LABELS, TARGETS)),
        (logits_matching(), LOGITS, (LABELS, TARGETS)),  # squares over 65,504
        (dense.segmentation(), PIXELS, (LABELS, MASKS)),
        (reconstruction(), PIXELS, (LABELS, -PIXELS)),
    ],
)
def test_half_precision_does_not_overflow(dtype, loss, outputs, given):
    narrow = jnp.asarray(outputs.astype(dtype))
    got = loss(narrow, *map(jnp.asarray, given))
    wanted = loss(narrow.astype(jnp.float32), *map(jnp.asarray, given))
    assert got.dtype == jnp.float32 and np.isfinite(got).all()
    np.testing.assert_array_equal(got, wanted)
