"""What tests of layers share."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp


@pytest.fixture(scope="session")
def assert_as_pytorch(reference: Any, quick_jit: Any) -> Callable[..., None]:
    """``assert_as_pytorch(kind, {case: (layer, *inputs)})``: output and all gradients, in float64.

    The cases are those of ``references/layers_torch.json`` under ``kind``, none left out.
    """

    def check(kind: str, cases: Mapping[str, tuple[Any, ...]]) -> None:
        script, numbers = reference("layers_torch")
        assert set(cases) == set(numbers[kind])

        def run(inputs: dict[str, Any]) -> dict[str, Any]:
            found = {}
            for case, (layer, *_) in cases.items():
                y, pull = jax.vjp(layer, *inputs[case])
                found[case] = y, pull(jnp.asarray(script.weights(*y.shape)))
            return found

        with jax.enable_x64(True):
            found = quick_jit(run)({case: inputs for case, (_, *inputs) in cases.items()})
        for case, (y, gradients) in found.items():
            expected = numbers[kind][case]
            assert list(y.shape) == expected["shape"], case
            pairs = zip([y, *gradients], [expected["y"], *expected["gradients"]], strict=True)
            for index, (got, want) in enumerate(pairs):
                assert got.dtype == jnp.float64
                said = f"{kind}, {case}: " + ("gradient " * (index > 0)) + str(index)
                np.testing.assert_allclose(
                    got, np.reshape(want, got.shape), rtol=1e-9, atol=1e-11, err_msg=said
                )

    return check
