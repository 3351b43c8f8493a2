"""Helpers shared by tests of layers and families."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pytest
from flax import traverse_util
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
            results = {}
            for case, (layer, *_) in cases.items():
                y, pull = jax.vjp(layer, *inputs[case])
                results[case] = y, pull(jnp.asarray(script.weights(*y.shape)))
            return results

        with jax.enable_x64(True):
            results = quick_jit(run)({case: inputs for case, (_, *inputs) in cases.items()})
        for case, (y, gradients) in results.items():
            expected = numbers[kind][case]
            assert list(y.shape) == expected["shape"], case
            pairs = zip([y, *gradients], [expected["y"], *expected["gradients"]], strict=True)
            for index, (got, want) in enumerate(pairs):
                assert got.dtype == jnp.float64
                message = f"{kind}, {case}: " + ("gradient " * (index > 0)) + str(index)
                np.testing.assert_allclose(
                    got, np.reshape(want, got.shape), rtol=1e-9, atol=1e-11, err_msg=message
                )

    return check


@pytest.fixture(scope="session")
def row() -> Callable[..., Any]:
    """``row(network, shape)``: the shape after every stage, and the number of parameters."""

    def of(network: Any, shape: tuple[int, ...]) -> Any:
        x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        shapes, total = [], 0
        for _, stage in network.stages:
            x, variables = jax.eval_shape(stage.init_with_output, jax.random.key(0), x)
            shapes.append(x.shape[1:])
            total += sum(leaf.size for leaf in jax.tree.leaves(variables.get("params", {})))
        return shapes, total

    return of


@pytest.fixture(scope="session")
def made() -> Callable[..., Any]:
    """``made(network, shape)``: shapes of parameters, and of what every layer gives, by path."""

    def of(network: Any, shape: tuple[int, ...]) -> Any:
        images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        variables = jax.eval_shape(network.init, jax.random.key(0), images)

        def run(variables, images):
            _, state = network.apply(
                variables, images, capture_intermediates=True, mutable=["intermediates"]
            )
            return state["intermediates"]

        inside = traverse_util.flatten_dict(jax.eval_shape(run, variables, images), sep="/")
        shapes = {path.removesuffix("/__call__"): x[0].shape[1:] for path, x in inside.items()}
        return variables["params"], shapes

    return of
