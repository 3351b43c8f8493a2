"""Pretraining without labels, layer by layer: stacked denoising autoencoders, deep belief networks.

Each layer is trained to model its input, which is the output of the layer below; then it is fixed,
and the next one is trained. The layers initialise a multilayer perceptron of the same widths, which
is then fine-tuned with labels:

    layers = denoising_autoencoders(key, inputs, (500, 500), corrupt=masking(0.25)).layers
    # params of models.mlp(widths=(500, 500), activation="sigmoid")
    params = with_hidden_layers(params, layers)

All layers, of autoencoders too, are of type ``rbm.Machine``: a decoder has the kernel of the
encoder, transposed, and ``visible`` as its biases. Both trainings are functions of a key and can be
mapped over several keys by ``vmap``; the last partial batch of an epoch is dropped.

Source: Hinton, Osindero and Teh, A fast learning algorithm for deep belief nets, Neural Computation
2006; Bengio et al., Greedy layer-wise training of deep networks, NeurIPS 2006; Vincent et al.,
Stacked denoising autoencoders, JMLR 2010.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp

from cnnlab.augment import Transform
from cnnlab.keys import stream_key
from cnnlab.models.activations import activation as activation_of
from cnnlab.spelling import unknown
from cnnlab.transfer import rbm
from cnnlab.transfer.rbm import Kind, Machine

ERROR_EXAMPLES = 1000  # examples that the error after each epoch is computed on


class Stack(NamedTuple):
    """Pretrained layers.

    Attributes:
      layers: from the images up.
      errors: float32 ``[L, E]``, the reconstruction error of each layer's input after each epoch,
        a mean over the first examples (at most ``ERROR_EXAMPLES``), without corruption: the
        cross-entropy over "bernoulli" units, half the squared distance of "gaussian" ones.
    """

    layers: tuple[Machine, ...]
    errors: jax.Array


class _Rule(NamedTuple):
    """How a layer is trained. Equal settings share one rule, so that ``jit`` compiles it once."""

    kind: Kind  # of its input
    std: Callable[[int, int], float]  # (inputs, width): of the first weights
    gradient: Callable[..., tuple[Machine, jax.Array | None]]  # (key, machine, batch, chain)
    optimizer: optax.GradientTransformation
    error: Callable[[Machine, jax.Array], jax.Array]
    activation: str
    persistent: bool = False


def masking(fraction: float) -> Transform:
    """Sets a random fraction of the numbers to zero: ``(key, x [N, D]) -> x``.

    Equal fractions return the same object.

    Raises:
      ValueError: for a fraction outside [0, 1).

    Source: Vincent et al., JMLR 2010, section 3.3.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the fraction that is masked must be in [0, 1), got {fraction}.")
    return _masking(float(fraction))


def denoising_autoencoders(
    key: jax.Array,
    inputs: jax.Array,
    widths: Sequence[int],
    *,
    corrupt: Transform | None = None,
    activation: str = "sigmoid",
    visible: Kind = "bernoulli",
    epochs: int = 10,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
) -> Stack:
    """Stacked denoising autoencoders; plain ones without a corruption. By Adam.

    A layer sees its input corrupted and reconstructs the clean one. Its decoder ends in a sigmoid
    with cross-entropy where that input is of "bernoulli" kind, and is linear with half the squared
    distance where it is "gaussian". The inputs of upper layers are "bernoulli" where the activation
    is a sigmoid, else "gaussian".

    Args:
      key: of the weights, the order of the examples and the corruption.
      inputs: float32 ``[N, D]``, as the network will see the images; in [0, 1] for "bernoulli".
      widths: of the layers.
      corrupt: ``(key, x [n, D]) -> x``, such as ``masking(0.25)``; of each layer's input. A new
        function is compiled again.
      activation: of the layers, a kind of ``models.activations.activation``.
      visible: the kind of the inputs, see ``rbm``.
      epochs: of each layer, >= 1.
      batch_size: at most N.
      learning_rate: of Adam, > 0.

    Raises:
      ValueError: for settings out of range, or inputs that are not of their kind.

    Source: Vincent et al., JMLR 2010; with an activation that is not a sigmoid Glorot, Bordes and
    Bengio, Deep sparse rectifier neural networks, AISTATS 2011.
    """
    activation_of(activation)
    _check_settings(visible, learning_rate)
    above: Kind = "bernoulli" if activation == "sigmoid" else "gaussian"
    kinds = (visible, *[above] * (len(widths) - 1))
    rules = [_denoising(kind, activation, corrupt, learning_rate) for kind in kinds]
    return _train_layers(key, inputs, widths, rules, epochs, batch_size)


def belief_network(
    key: jax.Array,
    inputs: jax.Array,
    widths: Sequence[int],
    *,
    visible: Kind = "bernoulli",
    steps: int = 1,
    persistent: bool = False,
    epochs: int = 10,
    batch_size: int = 100,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    weight_decay: float = 2e-4,
) -> Stack:
    """A deep belief network: restricted Boltzmann machines, each on the units of the one below.

    An upper machine's data are the probabilities of the hidden units below. By gradient descent
    with momentum on the estimate of contrastive divergence.

    Args:
      key: of the weights, the order of the examples and the draws.
      inputs: float32 ``[N, D]``, as the network will see the images; in [0, 1] for "bernoulli", and
        with a variance of about 1 for "gaussian".
      widths: of the layers, whose units are sigmoid ones.
      visible: the kind of the inputs, see ``rbm``; "gaussian" needs a learning rate 10 to 100 times
        lower in the first layer, which here gets a tenth of it.
      steps: of Gibbs sampling.
      persistent: continue the chains of the last batch instead of starting at this batch.
      epochs: of each layer, >= 1.
      batch_size: at most N.
      learning_rate: > 0; the gradient is that of the mean over the batch.
      momentum: in [0, 1).
      weight_decay: >= 0, on kernels.

    Raises:
      ValueError: for settings out of range, or inputs that are not of their kind.

    Source: Hinton et al., 2006; Hinton and Salakhutdinov, Science 2006; the settings from Hinton, A
    practical guide to training restricted Boltzmann machines, 2010.
    """
    _check_settings(visible, learning_rate)
    if steps < 1 or not 0 <= momentum < 1 or weight_decay < 0:
        raise ValueError(
            "steps must be at least 1, momentum in [0, 1) and weight_decay not negative, got "
            f"{steps}, {momentum} and {weight_decay}."
        )

    first = learning_rate / 10 if visible == "gaussian" else learning_rate
    options = (steps, persistent, momentum, weight_decay)
    rules = [_divergence(visible, first, *options)]
    rules += [_divergence("bernoulli", learning_rate, *options)] * (len(widths) - 1)
    return _train_layers(key, inputs, widths, rules, epochs, batch_size)


@functools.partial(jax.jit, static_argnames="activation")
def encode(
    layers: Sequence[Machine], inputs: jax.Array, *, activation: str = "sigmoid"
) -> jax.Array:
    """The units of the last layer ``[N, W]`` for inputs ``[N, D]``."""
    for layer in layers:
        inputs = activation_of(activation)(inputs @ layer.kernel + layer.hidden)
    return inputs


def with_hidden_layers(params: Any, layers: Sequence[Machine]) -> dict[str, Any]:
    """The parameters of a perceptron with ``layers`` as its hidden layers; the head is kept.

    Args:
      params: of ``models.mlp`` with the same widths, without normalisation, or [M, ...] of several.
      layers: as many as it has hidden layers; with the same leading axis.

    Raises:
      ValueError: if they do not fit.
    """
    stages = [name for name in params if name != "head"]
    if len(stages) != len(layers):
        raise ValueError(
            f"the network must have a hidden layer for each of {len(layers)} layers, it has "
            f"{', '.join(stages) or 'none'}. Give it the same widths."
        )
    initial = dict(params)
    for name, layer in zip(sorted(stages, key=lambda n: int(n[5:])), layers, strict=True):
        dense = {"dense": {"kernel": layer.kernel, "bias": layer.hidden}}
        old, new = (jax.tree.map(jnp.shape, tree) for tree in (dict(params[name]), dense))
        if old != new:
            raise ValueError(
                f"{name} must be a dense layer of shape {jnp.shape(layer.kernel)}, as "
                f"pretrained, and nothing else, it has {old}. Give the network the same widths and "
                "images, and no normalisation."
            )
        initial[name] = dense
    return initial


# Training a layer ----------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _masking(fraction: float) -> Transform:
    def corrupt(key: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, 1 - fraction, x.shape), x, 0)

    return corrupt


@functools.lru_cache(maxsize=64)
def _denoising(
    kind: Kind, activation: str, corrupt: Transform | None, learning_rate: float
) -> _Rule:
    def std(inputs: int, width: int) -> float:
        return float(((4.0 if activation == "relu" else 2.0) / (inputs + width)) ** 0.5)

    def error(machine: Machine, x: jax.Array, corrupted: jax.Array | None = None) -> jax.Array:
        h = encode([machine], x if corrupted is None else corrupted, activation=activation)
        y = h @ machine.kernel.T + machine.visible
        if kind == "bernoulli":
            return jnp.sum(jax.nn.softplus(y) - x * y, -1)
        return jnp.sum(jnp.square(x - y), -1) / 2

    def gradient(key: jax.Array, machine: Machine, batch: jax.Array, chain: Any) -> Any:
        corrupted = batch if corrupt is None else corrupt(key, batch)
        return jax.grad(lambda machine: jnp.mean(error(machine, batch, corrupted)))(machine), chain

    return _Rule(kind, std, gradient, optax.adam(learning_rate), error, activation)


@functools.lru_cache(maxsize=64)
def _divergence(
    kind: Kind,
    learning_rate: float,
    steps: int,
    persistent: bool,
    momentum: float,
    weight_decay: float,
) -> _Rule:
    options: dict[str, Any] = {"steps": steps, "kind": kind, "mean_last": not persistent}

    def gradient(key: jax.Array, machine: Machine, batch: jax.Array, chain: Any) -> Any:
        estimate, end = rbm.contrastive_divergence(key, machine, batch, chain=chain, **options)
        return estimate, end if persistent else None

    def error(machine: Machine, x: jax.Array) -> jax.Array:
        return rbm.reconstruction_error(machine, x, kind)

    kernels: Any = Machine(True, False, False)  # type: ignore[arg-type]
    decay = optax.add_decayed_weights(weight_decay, mask=kernels)
    optimizer = optax.chain(decay, optax.sgd(learning_rate, momentum=momentum))
    return _Rule(kind, _boltzmann_std, gradient, optimizer, error, "sigmoid", persistent)


def _boltzmann_std(inputs: int, width: int) -> float:
    """The standard deviation for Boltzmann machines (Hinton, 2010, section 8)."""
    del inputs, width
    return 0.01


def _train_layers(
    key: jax.Array,
    inputs: jax.Array,
    widths: Sequence[int],
    rules: Sequence[_Rule],
    epochs: int,
    batch_size: int,
) -> Stack:
    """Trains one layer after the other."""
    inputs = jnp.asarray(inputs, jnp.float32)
    _check(inputs, widths, rules[0].kind, epochs, batch_size)
    layers: list[Machine] = []
    errors: list[list[jax.Array]] = []
    for index, (width, rule) in enumerate(zip(widths, rules, strict=True)):
        own = stream_key(key, "layer", index)
        progress = _initial_progress(stream_key(own, "init"), inputs, rule, width, batch_size)
        errors.append([])
        for epoch in range(epochs):
            at = stream_key(own, "epoch", epoch)
            progress, error = _epoch(progress, at, inputs, rule, batch_size)
            errors[-1].append(error)
        layers.append(progress[0])
        if index + 1 < len(widths):
            inputs = encode(layers[-1:], inputs, activation=rule.activation)
    return Stack(tuple(layers), jnp.asarray(errors))


@functools.partial(jax.jit, static_argnames=("rule", "width", "batch_size"))
def _initial_progress(
    key: jax.Array, inputs: jax.Array, rule: _Rule, width: int, batch_size: int
) -> Any:
    """A new layer with its optimizer's state and its chain; it reconstructs the mean input."""
    visible = inputs.shape[1]
    machine = rbm.init_machine(key, visible, width, std=rule.std(visible, width))
    mean = jnp.mean(inputs, 0)
    if rule.kind == "bernoulli":
        share = jnp.clip(mean, 0.01, 0.99)
        mean = jnp.log(share) - jnp.log1p(-share)
    machine = machine._replace(visible=mean)
    chain = inputs[:batch_size] if rule.persistent else None
    return machine, rule.optimizer.init(machine), chain


@functools.partial(jax.jit, static_argnames=("rule", "batch_size"))
def _epoch(
    progress: Any, key: jax.Array, inputs: jax.Array, rule: _Rule, batch_size: int
) -> tuple[Any, jax.Array]:
    """One pass over the inputs in a new order, and the error after it."""
    shuffle, draws = jax.random.split(key)
    order = jax.random.permutation(shuffle, inputs.shape[0])

    def update(progress: Any, batch: jax.Array) -> tuple[Any, None]:
        machine, opt_state, chain = progress
        rows = jax.lax.dynamic_slice(order, (batch * batch_size,), (batch_size,))
        own = jax.random.fold_in(draws, batch)
        gradient, chain = rule.gradient(own, machine, inputs[rows], chain)
        updates, opt_state = rule.optimizer.update(gradient, opt_state, machine)
        return (optax.apply_updates(machine, updates), opt_state, chain), None

    progress, _ = jax.lax.scan(update, progress, jnp.arange(inputs.shape[0] // batch_size))
    return progress, jnp.mean(rule.error(progress[0], inputs[:ERROR_EXAMPLES]))


def _check_settings(visible: str, learning_rate: float) -> None:
    if visible not in rbm.KINDS:
        raise ValueError(unknown("kind of visible units", visible, rbm.KINDS))
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"the learning rate must be positive and finite, got {learning_rate}.")


def _check(
    inputs: jax.Array, widths: Sequence[int], kind: Kind, epochs: int, batch_size: int
) -> None:
    if inputs.ndim != 2:
        raise ValueError(
            f"inputs must be [N, D], got shape {inputs.shape}. Flatten the images first."
        )
    if not widths or min(widths) < 1 or epochs < 1 or not 1 <= batch_size <= inputs.shape[0]:
        raise ValueError(
            "there must be at least one layer of at least one unit, 1 epoch, and batches of 1 to "
            f"{inputs.shape[0]} examples, got widths={tuple(widths)}, epochs={epochs}, "
            f"batch_size={batch_size}."
        )
    if isinstance(inputs, jax.core.Tracer):
        return
    low, high = float(jnp.min(inputs)), float(jnp.max(inputs))
    if kind == "bernoulli" and not 0 <= low <= high <= 1:
        raise ValueError(
            f'inputs must be in [0, 1] for visible="bernoulli", got {low:.3g} to {high:.3g}. '
            'Divide the pixels by 255, or use visible="gaussian".'
        )
