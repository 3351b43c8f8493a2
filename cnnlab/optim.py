"""Update rules as optax chains, with weight decay on kernels only.

Kernels are known by their name. Where weights are called otherwise, as in a library whose modules
have a ``weight``, nothing would decay: the ``init`` of a rule with a decay refuses such parameters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax
from jax import numpy as jnp

from cnnlab.arguments import check_rate
from cnnlab.schedules import Schedule
from cnnlab.spelling import some, unknown


def kernels(params: Any) -> Any:
    """A tree of booleans: True for the leaves named ``kernel``, which decay.

    Biases and the scales of normalisation layers do not decay (He et al., CVPR 2019, 3.1).
    """

    def is_kernel(path: tuple[Any, ...], leaf: Any) -> bool:
        del leaf
        return bool(path) and _name(path[-1]) == "kernel"

    return jax.tree_util.tree_map_with_path(is_kernel, params)


def check_kernels(params: Any, purpose: str, axes: int = 2) -> None:
    """Refuses parameters with weights, none of which is called ``kernel``.

    Biases and scales alone, as where only normalisation learns, pass.

    Args:
      params: or any tree that holds them, such as an optimizer's state.
      purpose: what would have no effect, for the message.
      axes: an array of as many is a weight, not a bias.

    Raises:
      ValueError: with the names that there are.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    weights = [path for path, leaf in leaves if jnp.ndim(leaf) >= axes]
    if weights and not any(jax.tree.leaves(kernels(params))):
        names = ["/".join(_name(key) for key in path) for path in weights]
        raise ValueError(
            f"{purpose} is for leaves named kernel, and would have no effect: the parameters are "
            f"called {some(names, 3)}. Name the weights kernel, or use optax's transformations "
            "with a mask of your own."
        )


def _name(key: Any) -> str:
    """Of a mapping's key, an attribute or an index in a path of jax."""
    return str(next(getattr(key, kind) for kind in ("key", "name", "idx") if hasattr(key, kind)))


def _refusing_other_names(
    rule: optax.GradientTransformation, weight_decay: Any
) -> optax.GradientTransformation:
    """The rule, whose ``init`` refuses parameters of which nothing would decay."""
    if isinstance(weight_decay, jax.core.Tracer) or not weight_decay > 0:
        return rule

    def init(params: Any) -> Any:
        check_kernels(params, f"weight_decay={float(weight_decay):g}")
        return rule.init(params)

    return rule._replace(init=init)


def sgd(
    learning_rate: float | Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip: float | None = None,
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum; the decay is added to the gradient (L2).

    ``g = g + weight_decay * w; v = momentum * v + g; w = w - rate * v`` (or, with Nesterov,
    ``w = w - rate * (momentum * v + g)``), as in PyTorch.

    Args:
      learning_rate: a number or a function of the step.
      momentum: in [0, 1).
      nesterov: Nesterov's form (Sutskever et al., ICML 2013).
      weight_decay: >= 0, on kernels only; 1e-4 to 5e-4 is usual.
      clip: the largest global norm of the gradient, before decay and momentum; None for no limit.

    Raises:
      ValueError: for numbers out of range; by ``init``, where no weight is named ``kernel``.
    """
    _check(learning_rate, weight_decay, clip)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}.")
    rule = optax.chain(
        *_clipping(clip),
        optax.add_decayed_weights(weight_decay, mask=kernels),
        optax.sgd(learning_rate, momentum=momentum or None, nesterov=nesterov),
    )
    return _refusing_other_names(rule, weight_decay)


def adam(
    learning_rate: float | Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    clip: float | None = None,
) -> optax.GradientTransformation:
    """Adam (Kingma & Ba, ICLR 2015); the decay is added to the gradient (L2). See ``adamw``."""
    _check(learning_rate, weight_decay, clip)
    _check_betas(b1, b2)
    rule = optax.chain(
        *_clipping(clip),
        optax.add_decayed_weights(weight_decay, mask=kernels),
        optax.adam(learning_rate, b1=b1, b2=b2, eps=eps),
    )
    return _refusing_other_names(rule, weight_decay)


def adamw(
    learning_rate: float | Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    clip: float | None = None,
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay on kernels (Loshchilov & Hutter, ICLR 2019).

    Kernels shrink by ``rate * weight_decay`` at each step, independent of their gradients.
    """
    _check(learning_rate, weight_decay, clip)
    _check_betas(b1, b2)
    rule = optax.chain(
        *_clipping(clip),
        optax.adamw(learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=kernels),
    )
    return _refusing_other_names(rule, weight_decay)


NAMES = ("sgd", "nesterov", "adam", "adamw")


def create(
    name: str,
    learning_rate: float | Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip: float | None = None,
    varied: bool = False,
) -> optax.GradientTransformation:
    """Makes an update rule by name.

    Args:
      name: "sgd", "nesterov", "adam" or "adamw".
      learning_rate: a number or a function of the step.
      momentum: of "sgd" and "nesterov", and Adam's ``b1``.
      weight_decay: on kernels; part of the gradient, but decoupled for "adamw".
      clip: the largest global norm of the gradient.
      varied: keep the weight decay and a factor of the rate in the state, where
        ``set_hyperparameters`` gives each member its own.

    Raises:
      ValueError: for an unknown name (the nearest is named) or numbers out of range.
    """

    def rule(weight_decay: Any) -> optax.GradientTransformation:
        if name in ("sgd", "nesterov"):
            return sgd(
                learning_rate,
                momentum=momentum,
                nesterov=name == "nesterov",
                weight_decay=weight_decay,
                clip=clip,
            )
        if name in ("adam", "adamw"):
            make = adam if name == "adam" else adamw
            return make(learning_rate, b1=momentum, weight_decay=weight_decay, clip=clip)
        raise ValueError(unknown("optimiser", name, NAMES))

    plain = rule(weight_decay)  # made first, so that invalid numbers raise here, varied or not
    if not varied:
        return plain

    def scaled(learning_rate_factor: Any, weight_decay: Any) -> optax.GradientTransformation:
        return optax.chain(rule(weight_decay), optax.scale(learning_rate_factor))

    varying = optax.inject_hyperparams(scaled)(learning_rate_factor=1.0, weight_decay=weight_decay)
    return _refusing_other_names(varying, weight_decay)


HYPERPARAMETERS = ("learning_rate_factor", "weight_decay")


def set_hyperparameters(opt_state: Any, values: Mapping[str, Sequence[float]]) -> Any:
    """Sets the hyperparameters of each member.

    Args:
      opt_state: of the members ``[M, ...]``, of a ``create(..., varied=True)``.
      values: "learning_rate_factor", which multiplies the schedule's rate, "weight_decay", or both
        -> one number >= 0 for each member.

    Raises:
      ValueError: for another name, another optimizer, or numbers that do not fit the members.
    """
    for name, each in values.items():
        if name not in HYPERPARAMETERS:
            raise ValueError(unknown("hyperparameter", name, HYPERPARAMETERS))
        leaves = optax.tree_utils.tree_get_all_with_path(opt_state, name)
        if len(leaves) != 1:
            raise ValueError(
                f"the optimizer has no {name} in its state: make it by create(..., varied=True)."
            )
        ((_, old),) = leaves
        numbers = jnp.asarray(each, old.dtype)
        if numbers.shape != old.shape or not bool((numbers >= 0).all()):
            raise ValueError(
                f"{name} must be a number >= 0 for each of {old.shape} members, got {list(each)}."
            )
        if name == "weight_decay" and max(each) > 0:
            check_kernels(opt_state, "weight_decay", axes=3)
        # Laid out as before, so that one compiled program serves the first step and the others.
        placed = jax.device_put(numbers, old.sharding)
        opt_state = optax.tree_utils.tree_set(opt_state, **{name: placed})
    return opt_state


def keep_zeros() -> optax.GradientTransformation:
    """Keeps every kernel weight that is exactly zero, a pruned one, at zero.

    The last in a chain. No mask is needed, since ``transfer.pruning.prune`` sets pruned weights to
    zero. A kernel that is initialised to zero stays zero.

    Source: Han et al., NIPS 2015, section 3; Frankle & Carbin, ICLR 2019.
    """

    def update(updates: Any, params: Any) -> Any:
        if params is None:
            raise ValueError("keep_zeros needs the parameters: update(updates, state, params).")
        check_kernels(params, "keep_zeros")

        def one(is_kernel: bool, change: jax.Array, weight: jax.Array) -> jax.Array:
            return jnp.where(weight == 0, 0, change) if is_kernel else change

        return jax.tree.map(one, kernels(params), updates, params)

    return optax.stateless(update)


def _clipping(clip: float | None) -> tuple[optax.GradientTransformation, ...]:
    return () if clip is None else (optax.clip_by_global_norm(clip),)


def _check(learning_rate: float | Schedule, weight_decay: Any, clip: float | None) -> None:
    if not callable(learning_rate):
        check_rate(learning_rate)
    # A member's own weight decay is traced; set_hyperparameters has checked it.
    if not isinstance(weight_decay, jax.core.Tracer) and not weight_decay >= 0:
        raise ValueError(f"weight_decay must be >= 0, got {weight_decay}.")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be a positive norm or None, got {clip}.")


def _check_betas(b1: float, b2: float) -> None:
    if not (0 <= b1 < 1 and 0 <= b2 < 1):
        raise ValueError(f"Adam's b1 (its momentum) and b2 must be in [0, 1), got {b1} and {b2}.")
