"""Restricted Boltzmann machines: V visible units, H hidden binary ones, weights only in between.

    machine = init_machine(key, visible=784, hidden=500)
    gradient, sampled = contrastive_divergence(key, machine, batch)
    machine = jax.tree.map(lambda x, g: x - 0.05 * g, machine, gradient)

With hidden units h in {0, 1} the energy of a state is, W, b, c being kernel and biases,

| kind | visible units | E(v, h) |
| --- | --- | --- |
| "bernoulli" | in {0, 1}; data in [0, 1] count as probabilities | - b v - c h - v W h |
| "gaussian" | real, with variance 1 | (v - b)^2 / 2 - c h - v W h |

and p(v, h) is proportional to exp(-E). All functions are pure.
``log_partition`` and the functions that use it sum over all 2^H hidden states: they are for tiny
machines, to check the estimates.

Source: Smolensky, 1986; Hinton, Training products of experts by minimizing contrastive divergence,
Neural Computation 2002; Hinton, A practical guide to training restricted Boltzmann machines, 2010.
"""

from typing import Literal, NamedTuple

import jax
from jax import numpy as jnp

from cnnlab.spelling import unknown

KINDS = ("bernoulli", "gaussian")
MOST_HIDDEN = 20
"""The largest number of hidden units whose states are enumerated."""

Kind = Literal["bernoulli", "gaussian"]


class Machine(NamedTuple):
    """The parameters of one machine; a gradient has the same form.

    Attributes:
      kernel: float32 ``[V, H]``.
      visible: biases, float32 ``[V]``.
      hidden: biases, float32 ``[H]``.
    """

    kernel: jax.Array
    visible: jax.Array
    hidden: jax.Array


def init_machine(key: jax.Array, visible: int, hidden: int, *, std: float = 0.01) -> Machine:
    """A new machine with normal weights of standard deviation ``std`` and biases of zero.

    Raises:
      ValueError: if it would have no unit.

    Source: Hinton, 2010, section 8.
    """
    if visible < 1 or hidden < 1:
        raise ValueError(
            f"a machine must have visible and hidden units, got {visible} and {hidden}."
        )
    kernel = std * jax.random.normal(key, (visible, hidden))
    return Machine(kernel, jnp.zeros(visible), jnp.zeros(hidden))


# Energies and conditionals -------------------------------------------------------------------


def energy(machine: Machine, v: jax.Array, h: jax.Array, kind: Kind = "bernoulli") -> jax.Array:
    """E(v, h) of states ``[..., V]`` and ``[..., H]``: ``[...]``.

    Raises:
      ValueError: for an unknown kind.
    """
    return (
        _visible_energy(machine, v, kind) - h @ machine.hidden - jnp.sum(v @ machine.kernel * h, -1)
    )


def free_energy(machine: Machine, v: jax.Array, kind: Kind = "bernoulli") -> jax.Array:
    """``-log sum_h exp(-E(v, h))`` of ``[..., V]``: ``[...]``; minus log p(v) but for a constant.

    Raises:
      ValueError: for an unknown kind.
    """
    return _visible_energy(machine, v, kind) - jnp.sum(jax.nn.softplus(_inputs(machine, v)), -1)


def hidden_probabilities(machine: Machine, v: jax.Array) -> jax.Array:
    """P(h = 1 | v) of ``[..., V]``: ``[..., H]``: the input of the next layer of a stack."""
    return jax.nn.sigmoid(_inputs(machine, v))


def visible_mean(machine: Machine, h: jax.Array, kind: Kind = "bernoulli") -> jax.Array:
    """The mean of v given h, ``[..., H]``: ``[..., V]``, P(v = 1 | h) for "bernoulli".

    Raises:
      ValueError: for an unknown kind.
    """
    mean = h @ machine.kernel.T + machine.visible
    return jax.nn.sigmoid(mean) if _check_kind(kind) == "bernoulli" else mean


def sample_hidden(key: jax.Array, machine: Machine, v: jax.Array) -> jax.Array:
    """Draws h given v, ``[..., V]``: zeros and ones, float32 ``[..., H]``."""
    mean = hidden_probabilities(machine, v)
    return jax.random.bernoulli(key, mean).astype(mean.dtype)


def sample_visible(
    key: jax.Array, machine: Machine, h: jax.Array, kind: Kind = "bernoulli"
) -> jax.Array:
    """Draws v given h, ``[..., H]``: float32 ``[..., V]``."""
    mean = visible_mean(machine, h, kind)
    if kind == "bernoulli":
        return jax.random.bernoulli(key, mean).astype(mean.dtype)
    return mean + jax.random.normal(key, mean.shape, mean.dtype)


def gibbs(
    key: jax.Array,
    machine: Machine,
    v: jax.Array,
    steps: int = 1,
    kind: Kind = "bernoulli",
    *,
    mean_last: bool = False,
) -> jax.Array:
    """Draws h given v and v given h, ``steps`` times in turn, from v ``[..., V]`` on.

    Args:
      key: of the draws.
      machine: its distribution is that of the chain in the limit.
      v: the initial state; binary or, for "bernoulli", probabilities.
      steps: >= 1.
      kind: of the visible units.
      mean_last: return the mean of the last v instead of a draw: less noise, but no sample.

    Raises:
      ValueError: for an unknown kind or no step.
    """
    if steps < 1:
        raise ValueError(f"there must be at least 1 step of Gibbs sampling, got {steps}.")

    def both(index: jax.Array | int, v: jax.Array, last: bool = False) -> jax.Array:
        one, two = jax.random.split(jax.random.fold_in(key, index))
        h = sample_hidden(one, machine, v)
        return visible_mean(machine, h, kind) if last else sample_visible(two, machine, h, kind)

    draws = steps - 1 if mean_last else steps
    if draws:
        v = jax.lax.fori_loop(0, draws, both, v)
    return both(draws, v, last=True) if mean_last else v


# Learning ------------------------------------------------------------------------------------


def contrastive_divergence(
    key: jax.Array,
    machine: Machine,
    batch: jax.Array,
    *,
    steps: int = 1,
    kind: Kind = "bernoulli",
    chain: jax.Array | None = None,
    mean_last: bool = False,
) -> tuple[Machine, jax.Array]:
    """An estimate of the gradient of the mean of ``-log p(v)``, for gradient descent.

    It is the gradient of the mean free energy of the batch minus that of the chain after ``steps``
    steps: hidden units count with their probabilities, not with draws. With more
    steps, its mean over draws tends to the gradient itself.

    Args:
      key: of the draws.
      machine: where the gradient is taken.
      batch: data, float ``[N, V]``.
      steps: of Gibbs sampling, k of CD-k.
      kind: of the visible units.
      chain: initial states of the sampling, ``[M, V]``: those that the last call returned, for
        persistent contrastive divergence (Tieleman, ICML 2008); None starts at the batch.
      mean_last: use the mean of the last visible units, see ``gibbs``: less noise in the
        gradient (Hinton, 2010, section 3.2). Not for a persistent chain.

    Returns:
      The gradient, and the end of the chain, ``[N, V]`` or ``[M, V]``.

    Raises:
      ValueError: for an unknown kind, no step, or means of a persistent chain.
    """
    if chain is not None and mean_last:
        raise ValueError("a persistent chain must consist of draws: leave mean_last=False.")
    initial = batch if chain is None else chain
    sampled = gibbs(key, machine, initial, steps, kind, mean_last=mean_last)
    sampled = jax.lax.stop_gradient(sampled)

    def difference(machine: Machine) -> jax.Array:
        data, model = (jnp.mean(free_energy(machine, v, kind)) for v in (batch, sampled))
        return data - model

    return jax.grad(difference)(machine), sampled


def reconstruction_error(machine: Machine, v: jax.Array, kind: Kind = "bernoulli") -> jax.Array:
    """The error of reconstructing v ``[N, V]`` from the means of h: ``[N]``.

    The cross-entropy over the visible units for "bernoulli", half the squared distance for
    "gaussian". It falls during training, but is not its objective (Hinton, 2010, section 5).

    Raises:
      ValueError: for an unknown kind.
    """
    inputs = hidden_probabilities(machine, v) @ machine.kernel.T + machine.visible
    if _check_kind(kind) == "bernoulli":
        return jnp.sum(jax.nn.softplus(inputs) - v * inputs, -1)
    return jnp.sum(jnp.square(v - inputs), -1) / 2


# Exact, for tiny machines --------------------------------------------------------------------


def log_partition(machine: Machine, kind: Kind = "bernoulli") -> jax.Array:
    """The log of the sum over all states (and the integral over real ones) of exp(-E), [].

    The 2^H hidden states are enumerated; the sum over the visible units has a closed form.

    Raises:
      ValueError: for an unknown kind, or more than ``MOST_HIDDEN`` hidden units.
    """
    hidden, visible = machine.hidden.shape[0], machine.visible.shape[0]
    if hidden > MOST_HIDDEN:
        raise ValueError(
            f"the states of at most {MOST_HIDDEN} hidden units can be enumerated, got {hidden}: "
            "use a smaller machine."
        )
    h = _binary_states(hidden)
    inputs = h @ machine.kernel.T
    if _check_kind(kind) == "bernoulli":
        over_visible = jnp.sum(jax.nn.softplus(inputs + machine.visible), -1)
    else:
        normal = visible / 2 * jnp.log(2 * jnp.pi)
        over_visible = normal + inputs @ machine.visible + jnp.sum(jnp.square(inputs), -1) / 2
    return jax.nn.logsumexp(h @ machine.hidden + over_visible)


def log_likelihood(machine: Machine, v: jax.Array, kind: Kind = "bernoulli") -> jax.Array:
    """Log p(v) of ``[..., V]``: ``[...]``. For tiny machines.

    Raises:
      ValueError: as ``log_partition``.
    """
    return -free_energy(machine, v, kind) - log_partition(machine, kind)


def exact_gradient(machine: Machine, batch: jax.Array, kind: Kind = "bernoulli") -> Machine:
    """The gradient of the mean of ``-log p(v)`` over a batch ``[N, V]``. For tiny machines.

    Raises:
      ValueError: as ``log_partition``.
    """

    def loss(machine: Machine) -> jax.Array:
        return -jnp.mean(log_likelihood(machine, batch, kind))

    return jax.grad(loss)(machine)


# Helpers -------------------------------------------------------------------------------------


def _visible_energy(machine: Machine, v: jax.Array, kind: Kind) -> jax.Array:
    """The energy of the visible units alone."""
    if _check_kind(kind) == "bernoulli":
        return -v @ machine.visible
    return jnp.sum(jnp.square(v - machine.visible), -1) / 2


def _inputs(machine: Machine, v: jax.Array) -> jax.Array:
    """The inputs of the hidden units."""
    return v @ machine.kernel + machine.hidden


def _check_kind(kind: Kind) -> Kind:
    if kind not in KINDS:
        raise ValueError(unknown("kind of visible units", kind, KINDS))
    return kind


def _binary_states(units: int) -> jax.Array:
    """All states of binary units: float32 ``[2^units, units]``."""
    numbers = jnp.arange(2**units)
    return ((numbers[:, None] >> jnp.arange(units)) & 1).astype(jnp.float32)
