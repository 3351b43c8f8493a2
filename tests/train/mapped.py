"""One step of training on every device together, beside one on a single device.

Printed for test_devices: for every network and way, how far the parameters (in parts of their own
movement), the running statistics and the sums lie from those of the whole batch on one device.

Not with the tests' --xla_cpu_use_fusion_emitters=false: with it, jaxlib 0.10.2 compiles the
gradient of BatchNorm over devices, in parts and with check_vma=False, to other numbers.
"""

import functools
import json
import os
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from cnnlab import augment, models, optim, train
from cnnlab.data.batches import Batch
from cnnlab.keys import run_key
from cnnlab.mesh import make_mesh, sharding
from cnnlab.models.convolution import convolve, convolve_transposed
from cnnlab.models.lenet import ConvPool
from cnnlab.models.norms import Kind, Norm
from cnnlab.models.resnet_cifar import ConvNorm, PooledClassifier
from cnnlab.train.state import init_state

AXIS = "devices"
QUICK = {"xla_backend_optimization_level": 0}


def convolutional(norm: Kind) -> models.Network:
    """Two convolutions, one with a stride, pooling and normalisation."""
    stages = (
        ("stem", ConvPool(2, 3, 1, norm=norm)),
        ("stage1", ConvNorm(3, norm=norm, strides=2)),
        ("head", PooledClassifier(3)),
    )
    return models.Network(stages)


NETWORKS: dict[str, Any] = {
    "mlp": lambda norm: models.mlp(3, widths=(5,)),
    "convolutions": convolutional,
}


def main() -> None:
    flags = os.environ.get("XLA_FLAGS", "").split()  # read when jax first needs a device
    os.environ["XLA_FLAGS"] = " ".join(flag for flag in flags if "fusion_emitters" not in flag)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
    labels = generator.integers(0, 3, 16).astype(np.int32)
    batch = Batch(jnp.asarray(images), jnp.asarray(labels), jnp.ones(16))
    out: dict[str, Any] = {"devices": jax.device_count()}
    for name, make in NETWORKS.items():
        for parts in (1, 2):
            ways = steps(make, parts)
            recipe = recipe_of(make(Norm("batch")), parts)
            start = jax.jit(lambda r=recipe: init_state(r, run_key(0), (8, 8, 1)))()
            alone = jax.jit(functools.partial(train.train_step, recipe), compiler_options=QUICK)
            wanted = alone(start, batch, run_key(0))
            for way, step in ways.items():
                actual = step(start, batch, run_key(0))
                out[f"{name}, {parts} parts, {way}"] = gaps(start, wanted, actual)
    out["gradients of convolutions"] = direct_gradients()
    print(json.dumps(out))


def direct_gradients() -> list[float]:
    """How far gradients of replicated kernels, which jax sums, lie from those of one device.

    Of a convolution in one, two and four groups, and of a transposed one.
    """
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.standard_normal((8, 6, 6, 4)), jnp.float32)
    ways = [functools.partial(convolve, strides=2, padding=1, groups=g) for g in (1, 2, 4)]
    shapes = [(3, 3, 4 // g, 4) for g in (1, 2, 4)]
    mesh = jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))
    whole, cut = PartitionSpec(), PartitionSpec(AXIS)
    out = []
    for way, shape in zip([*ways, convolve_transposed], [*shapes, (2, 2, 4, 3)], strict=True):
        kernel = jnp.asarray(generator.standard_normal(shape), jnp.float32)
        gradient = jax.grad(lambda kernel, x, way=way: jnp.sum(jnp.sin(way(x, kernel))))
        mapped = jax.shard_map(gradient, mesh=mesh, in_specs=(whole, cut), out_specs=whole)
        out.append(float(np.abs(gradient(kernel, x) - mapped(kernel, x)).max()))
    return out


def recipe_of(network: models.Network, parts: int) -> train.Recipe:
    optimizer = optim.sgd(0.1, weight_decay=5e-4)
    return train.Recipe(network, optimizer, augment.to_unit_range(), accumulate=parts)


def steps(make: Any, parts: int) -> dict[str, Any]:
    """``(state, batch, key) -> (state, sums)`` of all devices, by the way it is made."""
    network = make(Norm("batch", axis_name=AXIS))
    step = functools.partial(train.train_step, recipe_of(network, parts), axis_name=AXIS)
    devices = jax.device_count()
    mesh = jax.make_mesh((devices,), (AXIS,), axis_types=(AxisType.Auto,))
    whole, cut = PartitionSpec(), PartitionSpec(AXIS)
    ways: dict[str, Any] = {}
    for check in (True, False):
        ways[f"shard_map, check_vma={check}"] = jax.jit(
            jax.shard_map(
                step,
                mesh=mesh,
                in_specs=(whole, cut, whole),
                out_specs=whole,
                check_vma=check,
            ),
            compiler_options=QUICK,
        )

    mapped = jax.pmap(step, axis_name=AXIS, in_axes=(None, 0, None))

    def by_pmap(state: Any, batch: Batch, key: jax.Array) -> Any:
        shares = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
        return jax.tree.map(lambda x: x[0], mapped(state, shares, key))

    ways["pmap"] = by_pmap
    spread = make_mesh(1)
    plain = jax.jit(
        functools.partial(train.train_step, recipe_of(make(Norm("batch")), parts)),
        compiler_options=QUICK,
    )

    def by_jit(state: Any, batch: Batch, key: jax.Array) -> Any:
        return plain(state, jax.device_put(batch, sharding(spread, "data")), key)

    ways["jit"] = by_jit
    return ways


def gaps(start: Any, wanted: Any, actual: Any) -> list[float]:
    """Of the parameters in parts of their movement, of the running statistics, of the sums."""

    def farthest(one: Any, other: Any) -> float:
        pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        return max(
            (float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs), default=0
        )

    (state, sums), (other, other_sums) = wanted, actual
    moved = farthest(start.params, state.params)
    return [
        farthest(state.params, other.params) / moved,
        farthest(state.model_state, other.model_state),
        farthest(sums, other_sums),
    ]


if __name__ == "__main__":
    main()
