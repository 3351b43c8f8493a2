"""Deeper networks that are initialised with the layers of a trained shallower one.

    variables = deepen(shallow, fresh)  # VGG: new layers are initialised at random
    # Net2Net: new layers are the identity at first
    variables = deepen_with_identity(network, shallow, fresh, images)

A layer of the deep network is the shallow one's if it has the same path, such as "stage2/conv1" or
"stage1/block0/conv2"; layers that the shallow one lacks are new. So ``vgg(depth=11)`` grows into
13, 16 and 19 layers, where new convolutions follow the old ones of their block; ``plain8`` into
``plain20``, where new blocks do; and ``mlp`` by hidden layers. Widths must be the same.

Source: Simonyan and Zisserman, Very deep convolutional networks, ICLR 2015, section 3.1; Chen,
Goodfellow and Shlens, Net2Net, ICLR 2016, section 2.4.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import numpy as jnp

from cnnlab.models.network import Network
from cnnlab.models.norms import BatchNorm
from cnnlab.spelling import check_several, some, unknown

Variables = dict[str, Any]
Path = tuple[str, ...]

IDEMPOTENT = ("relu", "identity")
"""Activations f with f(f(x)) = f(x)."""


def new_layers(shallow: Mapping[str, Any], deep: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers that only the deep network has, such as "stage2/conv2", sorted.

    Args:
      shallow: variables, ``{"params": ...}`` and other collections.
      deep: variables of the deeper network.

    Raises:
      ValueError: if a layer of the shallow one is missing in the deep one or has another shape.
    """
    old, wanted = _shapes(shallow), _shapes(deep)
    missing = sorted("/".join(path[1:]) for path in old if path not in wanted)
    if missing:
        raise ValueError(
            f"the deep network must have all layers of the shallow one, it lacks {some(missing, 4)}"
            ". Grow a network of the same family and options, but its depth."
        )
    differing = [path for path, shape in old.items() if wanted[path] != shape]
    if differing:
        changes = [f"{'/'.join(p[1:])} {old[p]} -> {wanted[p]}" for p in sorted(differing)]
        raise ValueError(
            "the layers of the shallow network must have the same shapes in the deep one, got "
            f"{some(changes, 4)}. Give both the same widths, images and classes."
        )
    return tuple(sorted({"/".join(path[1:-1]) for path in wanted if path not in old}))


def deepen(
    shallow: Mapping[str, Any],
    fresh: Mapping[str, Any],
    *,
    reinitialise: Sequence[str] = (),
) -> Variables:
    """The deep network's variables, with the layers of the shallow one where it has them.

    Pure; ``vmap`` it over members, or give it leaves that all have a leading axis [M].

    Args:
      shallow: trained variables, ``{"params": ..., "batch_stats": ...}``.
      fresh: the deep network's, freshly initialised; new layers keep these values.
      reinitialise: stages whose layers all stay fresh, too. VGG's authors copied the first four
        convolutions and the dense layers, but not the convolutions between them:
        ``("stage3", "stage4")`` of ``vgg``.

    Raises:
      ValueError: if a layer of the shallow one is missing in the deep one or has another shape; for
        an unknown stage, or a string in place of a sequence.

    Source: Simonyan and Zisserman, ICLR 2015, section 3.1.
    """
    check_several("reinitialise", reinitialise)
    new_layers(shallow, fresh)
    for name in reinitialise:
        if name not in fresh["params"]:
            raise ValueError(unknown("stage with parameters", name, fresh["params"]))
    old, new = _flat(shallow), _flat(fresh)
    kept = {path: leaf for path, leaf in old.items() if path[1] not in reinitialise}
    grown: Variables = unflatten_dict({**new, **kept})
    return {**{name: {} for name in fresh}, **grown}


def deepen_with_identity(
    network: Network,
    shallow: Mapping[str, Any],
    fresh: Mapping[str, Any],
    images: jax.Array,
) -> Variables:
    """The deep network's variables, with new layers that are the identity: the function is kept.

    New convolutions and dense layers return their inputs, and so must the activation after them,
    which is applied again. A new BatchNorm normalises by the mean and deviation of ``images`` and
    scales and shifts back: it changes nothing in evaluation, and in training only as far as the
    statistics of a batch differ from those of ``images``.

    Args:
      network: the deep one, of plain layers: no shortcuts, ReLU, BatchNorm or no normalisation.
      shallow: trained variables of one network, ``{"params": ..., "batch_stats": ...}``.
      fresh: the deep network's, freshly initialised.
      images: float ``[N, H, W, C]``, some training images as the network sees them; used where
        there is BatchNorm.

    Raises:
      ValueError: if the deep network does not contain the shallow one, or a new layer cannot be the
        identity.

    Source: Chen et al., ICLR 2016, section 2.4.
    """
    layers = new_layers(shallow, fresh)
    _check_plain(network, {layer.split("/")[0] for layer in layers})
    first = next(name for name in network.names if name in fresh["params"])
    if first not in shallow["params"]:
        raise ValueError(
            f"the shallow network must have a layer before the new ones, {first} is new: an image "
            "may hold numbers that an activation would change."
        )
    params = flatten_dict(deepen(shallow, fresh)["params"])
    for layer in layers:
        path = tuple(layer.split("/"))
        kernel = params.get((*path, "kernel"))
        if kernel is not None:
            params[(*path, "kernel")] = _identity_kernel(layer, kernel)
            if (*path, "bias") in params:
                params[(*path, "bias")] = jnp.zeros_like(params[(*path, "bias")])
    variables = {**deepen(shallow, fresh), "params": unflatten_dict(params)}
    stats = flatten_dict(fresh.get("batch_stats", {}))
    norms = [path[:-1] for path in stats if path[-1] == "mean" and "/".join(path[:-1]) in layers]
    return _identity_norms(network, variables, norms, images) if norms else variables


# Helpers -------------------------------------------------------------------------------------


def _identity_kernel(layer: str, kernel: jax.Array) -> jax.Array:
    """A kernel [..., D, D] of the same shape that is the identity."""
    *window, inputs, outputs = kernel.shape
    if inputs != outputs or not all(size % 2 for size in window):
        raise ValueError(
            f"a new layer must have as many outputs as inputs and an odd window to be the "
            f"identity, {layer} has a kernel {kernel.shape}. Add it after a layer of its width."
        )
    middle = tuple(size // 2 for size in window)
    eye = jnp.eye(inputs, dtype=kernel.dtype)
    return jnp.zeros_like(kernel).at[middle].set(eye)


def _identity_norms(
    network: Network, variables: Variables, norms: Sequence[Path], images: jax.Array
) -> Variables:
    """The variables with the BatchNorms at ``norms`` the identity, by the statistics of images."""
    epsilon = BatchNorm.epsilon
    stats = flatten_dict(variables["batch_stats"])
    params = flatten_dict(variables["params"])

    def set_norm(path: Path, mean: jax.Array, variance: jax.Array) -> None:
        stats[(*path, "mean")], stats[(*path, "var")] = mean, variance
        params[(*path, "scale")], params[(*path, "bias")] = jnp.sqrt(variance + epsilon), mean

    def assemble() -> Variables:
        changed = {"params": unflatten_dict(params), "batch_stats": unflatten_dict(stats)}
        return {**variables, **changed}

    for path in norms:  # the identity already, by the statistics of fresh ones
        zeros = jnp.zeros_like(stats[(*path, "mean")])
        set_norm(path, zeros, zeros + 1)
    inputs: dict[Path, jax.Array] = {}

    def look(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            inputs[context.module.path] = args[0]
        return call(*args, **kwargs)

    with nn.intercept_methods(look):
        network.apply(assemble(), images, train=False)
    for path in norms:
        x = inputs[path].astype(jnp.float32)
        axes = tuple(range(x.ndim - 1))
        set_norm(path, jnp.mean(x, axes), jnp.var(x, axes))
    return assemble()


def _check_plain(network: Network, stages: set[str]) -> None:
    """Refuses stages that are not the identity when their kernels are."""
    for name, module in network.stages:
        if name not in stages:
            continue
        activation = getattr(module, "activation", "relu")
        norm = getattr(module, "norm", "none")
        shortcut = getattr(module, "shortcut", "none")
        for what, value, valid in (
            ("activation", activation, IDEMPOTENT),
            ("norm", norm, ("batch", "none")),
            ("shortcut", shortcut, ("none",)),
        ):
            if value not in valid:
                raise ValueError(
                    f"{name} must have {what} {' or '.join(valid)} for new layers that are "
                    f"the identity, got {value}. Initialise them at random: deepen(shallow, fresh)."
                )


def _flat(variables: Mapping[str, Any]) -> dict[Path, Any]:
    """(collection, stage, ..., name) -> leaf."""
    return flatten_dict(dict(variables))


def _shapes(variables: Mapping[str, Any]) -> dict[Path, tuple[int, ...]]:
    return {path: jnp.shape(leaf) for path, leaf in _flat(variables).items()}
