"""Several predictions of one network: of several views of each image, or with dropout on.

Both are ``train.predict`` on a network that returns all of them at once: members stay an axis,
devices share the work, and on a CPU what is computed together fits into its cache.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.errors import ScopeParamShapeError
from jax import numpy as jnp
from jax.sharding import Mesh

from cnnlab.augment import Views
from cnnlab.data.dataset import Dataset
from cnnlab.keys import run_key, stream_key
from cnnlab.models import Network
from cnnlab.models.dropout import Dropout
from cnnlab.train import Recipe, TrainState, predict, predict_step


def view_logits(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    views: Views,
    *,
    batch_size: int = 512,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """Logits of each member for each view of each example, in order: float32 ``[M, V, N, K]``.

    The views are made of the prepared images, as the network sees them. A program is compiled for
    each ``views``: create them once and use them again.

    Args:
      recipe: how the states were trained.
      states: ``[M, ...]``, as ``fit`` yields them; their moving average where they hold one.
      dataset: its images are the inputs.
      views: from ``augment.views``, of a size that the network takes.
      batch_size: examples at a time, all of whose views are then made; rounded up to a multiple of
        the devices.
      mesh: all devices by default.

    Raises:
      ValueError: if the images are too small for the views or the views for the network, or where
        the views have another size than the network was made for.
    """
    network = _ViewNetwork(recipe.network.stages, views)
    recipe = dataclasses.replace(recipe, network=network)
    try:
        logits = predict(recipe, states, dataset, batch_size=batch_size, mesh=mesh)
    except ScopeParamShapeError as error:  # of a layer that does not check its inputs itself
        raise ValueError(
            "the views must be of a size that the network takes: one of its parameters was made "
            f"for another. Take views of its size, such as ten_crop(size). {error}"
        ) from error
    return np.ascontiguousarray(np.swapaxes(logits, 1, 2))


def dropout_logits(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    samples: int,
    *,
    seed: int = 0,
    batch_size: int = 512,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """Logits with dropout on and all else as in evaluation: float32 ``[M, S, N, K]``.

    A sample is one thinned network: the same units are dropped for every example and member, so
    that it can be treated as one more member. The units of sample s depend on the seed, on s and
    on the place of the ``Dropout`` in the network, and on nothing else: not on the batch size, the
    devices or how many samples there are. The stages before the first dropout run once for all
    samples. A program is compiled for each seed and number of samples.

    Args:
      recipe: how the states were trained.
      states: ``[M, ...]``, as ``fit`` yields them; their moving average where they hold one.
      dataset: its images are the inputs.
      samples: S, >= 1; some tens are usual.
      seed: of the units that are dropped.
      batch_size: examples at a time; rounded up to a multiple of the devices.
      mesh: all devices by default.

    Raises:
      ValueError: if the network has no ``Dropout`` with a rate above 0, or ``samples`` is below 1.

    Source: Gal & Ghahramani, Dropout as a Bayesian Approximation, ICML 2016.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}.")
    first = _first_with_dropout(recipe, states, dataset.image_shape)
    network = _DropoutNetwork(recipe.network.stages, first, samples, seed)
    recipe = dataclasses.replace(recipe, network=network)
    logits = predict(recipe, states, dataset, batch_size=batch_size, mesh=mesh)
    return np.ascontiguousarray(np.swapaxes(logits, 1, 2))


class _ViewNetwork(Network):
    """A network applied to all views, for ``predict``: ``[N, H, W, C] -> [N, V, K]``."""

    views: Views

    @nn.nowrap
    def apply(self, variables: Any, *images: Any, **options: Any) -> Any:
        network = Network(self.stages)

        def one(view: jax.Array) -> Any:
            return network.apply(variables, view, **options)

        views = self.views(*images)
        if options.get("stop") is not None:
            # For the memory of activations: views run one after the other, in the memory of one.
            return one(views[0])
        return jnp.swapaxes(jax.lax.map(one, views), 0, 1)


class _DropoutNetwork(Network):
    """A network applied with S dropout masks, for ``predict``: ``[N, H, W, C] -> [N, S, K]``."""

    first: str  # the first stage that drops
    samples: int
    seed: int

    @nn.nowrap
    def apply(self, variables: Any, *images: Any, **options: Any) -> Any:
        network = Network(self.stages)
        if options.get("stop") is not None:
            return network.apply(variables, *images, **options)
        at = self.names.index(self.first)
        (x,) = images
        if at:
            x = network.apply(variables, x, **{**options, "stop": self.names[at - 1]})

        def one(sample: jax.Array) -> Any:
            with nn.intercept_methods(
                _with_dropout(stream_key(run_key(self.seed), "dropout", sample))
            ):
                return network.apply(variables, x, **{**options, "start": self.first})

        return jnp.swapaxes(jax.lax.map(one, jnp.arange(self.samples)), 0, 1)


def _with_dropout(key: jax.Array) -> Callable[..., Any]:
    """An interceptor that makes every ``Dropout``, ours and Flax's, drop.

    The units are the same for each example.
    """

    def intercept(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        # A module without a path is one of the clones that are applied below.
        if context.method_name != "__call__" or not _drops(module) or not module.path:
            return call(*args, **kwargs)
        x = args[0] if args else kwargs["inputs" if isinstance(module, nn.Dropout) else "x"]
        ones = jnp.ones((1, *x.shape[1:]), x.dtype)
        own = stream_key(key, "/".join(module.path))
        factors: Any
        if isinstance(module, nn.Dropout):
            flax = module.clone(parent=None, name=None, deterministic=None)
            factors = flax.apply({}, ones, deterministic=False, rng=own)
        else:
            ours = module.clone(parent=None, name=None)
            factors = ours.apply({}, ones, train=True, rngs={"dropout": own})
        return jnp.where(factors == 0, jnp.zeros_like(x), x * factors)

    return intercept


def _first_with_dropout(
    recipe: Recipe, states: TrainState, image_shape: tuple[int, int, int]
) -> str:
    """The name of the first stage that drops.

    Raises:
      ValueError: if none does.
    """
    stages: list[str] = []

    def watch(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if _drops(context.module):
            stages.append(context.module.path[0])
        return call(*args, **kwargs)

    def forward(states: TrainState, images: jax.Array) -> jax.Array:
        alone = jax.tree.map(lambda leaf: leaf[0], states)
        with nn.intercept_methods(watch):
            return predict_step(recipe, alone, images)

    jax.eval_shape(forward, states, jax.ShapeDtypeStruct((1, *image_shape), jnp.uint8))
    if not stages:
        raise ValueError(
            "the network must have a Dropout with a rate above 0 to be sampled from, but none of "
            f"its stages {list(recipe.network.names)} has one. Create the model with dropout=0.5, "
            "say, and train it, or combine other members, such as snapshots or views."
        )
    return stages[0]


def _drops(module: nn.Module) -> bool:
    return isinstance(module, Dropout | nn.Dropout) and module.rate > 0
