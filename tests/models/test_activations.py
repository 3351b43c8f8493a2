import math
import re
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.models.activations import KINDS, activation


def test_activations_and_their_gradients_are_pytorchs(
    assert_as_pytorch: Any, reference: Any
) -> None:
    script, _ = reference("layers_torch")
    assert_as_pytorch(
        "activation", {kind: (activation(kind), script.activation()) for kind in KINDS}
    )


def test_gelu_is_the_exact_one_and_not_that_by_tanh() -> None:
    with jax.enable_x64(True):
        for x in (-2.0, -0.5, 1.0, 2.5):
            exact = x * (1 + math.erf(x / math.sqrt(2))) / 2
            got = float(activation("gelu")(jnp.asarray(x)))
            assert got == pytest.approx(exact, rel=1e-12)
            assert got != pytest.approx(float(jax.nn.gelu(x, approximate=True)), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_far_from_zero_no_value_or_gradient_is_lost(kind: str) -> None:
    x = jnp.asarray([-1e4, -200.0, 200.0, 1e4])
    slopes = jax.vmap(jax.grad(activation(kind)))(x)
    assert np.isfinite(activation(kind)(x)).all()
    above = 0.0 if kind in ("sigmoid", "tanh", "relu6") else 1.0
    below = {"leaky_relu": 0.01, "identity": 1.0}.get(kind, 0.0)
    np.testing.assert_allclose(slopes, [below, below, above, above], rtol=1e-6, atol=1e-30)


def test_relu6_is_flat_at_both_bends_and_passes_what_is_not_a_number_on() -> None:
    x = jnp.asarray([-1.0, 0.0, 3.0, 6.0, 7.0, np.nan])
    np.testing.assert_array_equal(activation("relu6")(x), [0, 0, 3, 6, 6, np.nan])
    slopes = jax.vmap(jax.grad(activation("relu6")))(x[:5])
    np.testing.assert_array_equal(slopes, [0, 0, 1, 0, 0])


def test_an_unknown_activation_is_answered_with_the_nearest() -> None:
    message = "unknown activation 'leakyrelu'. Did you mean 'leaky_relu' or 'relu'? Known: sigmoid"
    with pytest.raises(ValueError, match=re.escape(message)):
        activation("leakyrelu")
