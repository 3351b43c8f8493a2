"""Boltzmann machines: against the sum over all states, and estimates against the exact gradient."""

import functools
import itertools

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy import integrate, special

from cnnlab.transfer import rbm

V, H = 4, 3
BATCH = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]], np.float32)
REAL = np.array([[1.5, 1.0, -0.5, 0.0], [1.2, 0.8, 0.0, -1.0], [-1.0, 0.1, 0.7, 1.4]], np.float32)


@pytest.fixture(scope="module")
def machine():
    generator = np.random.default_rng(3)
    shapes = (V, H), (V,), (H,)
    return rbm.Machine(*(generator.normal(0, 0.8, s).astype(np.float32) for s in shapes))


def states(units):
    return np.array(list(itertools.product([0, 1], repeat=units)), np.float64)


def written_out(machine, v, h):
    """The energy of one binary state as a sum over pairs of units."""
    w, b, c = machine
    pairs = sum(v[i] * w[i, j] * h[j] for i in range(V) for j in range(H))
    return -pairs - sum(b[i] * v[i] for i in range(V)) - sum(c[j] * h[j] for j in range(H))


@pytest.fixture(scope="module")
def table(machine):
    """p(v, h) of all states, [2^V, 2^H]."""
    weights = [[np.exp(-written_out(machine, v, h)) for h in states(H)] for v in states(V)]
    return np.array(weights) / np.sum(weights)


def test_energies_and_probabilities_are_those_of_all_states(machine, table):
    every, hidden = (np.asarray(states(n), np.float32) for n in (V, H))

    @jax.jit
    def look(machine):
        return (
            rbm.energy(machine, every[:, None], hidden[None]),
            rbm.log_likelihood(machine, every),
            rbm.hidden_probabilities(machine, every),
            rbm.visible_mean(machine, hidden),
        )

    energies, likelihood, up, down = jax.device_get(look(machine))
    wanted = [[written_out(machine, v, h) for h in states(H)] for v in states(V)]
    np.testing.assert_allclose(energies, wanted, atol=1e-5)
    np.testing.assert_allclose(np.exp(likelihood), table.sum(1), rtol=1e-5)
    given_v = table / table.sum(1, keepdims=True)
    np.testing.assert_allclose(up, given_v @ states(H), rtol=1e-5)
    given_h = (table / table.sum(0)).T
    np.testing.assert_allclose(down, given_h @ states(V), rtol=1e-5)


def test_the_exact_gradient_is_the_model_s_expectation_minus_the_data_s(machine, table):
    hidden = table / table.sum(1, keepdims=True) @ states(H)
    index = [int("".join(str(int(x)) for x in v), 2) for v in BATCH]
    data = np.mean([np.outer(v, hidden[i]) for v, i in zip(BATCH, index, strict=True)], 0)
    model = np.einsum("vh,vi,hj->ij", table, states(V), states(H))
    actual = jax.jit(rbm.exact_gradient)(machine, BATCH)
    np.testing.assert_allclose(actual.kernel, model - data, atol=1e-5)
    np.testing.assert_allclose(actual.visible, table.sum(1) @ states(V) - BATCH.mean(0), atol=1e-5)


def test_gaussian_units_have_a_density_that_integrates_to_one():
    machine = rbm.Machine(np.array([[1.2, -0.7]]), np.array([0.3]), np.array([0.2, -0.4]))
    machine = jax.tree.map(lambda x: np.asarray(x, np.float32), machine)
    places = np.linspace(-12, 12, 4001)
    log = jax.jit(lambda machine, v: rbm.log_likelihood(machine, v, "gaussian"))
    density = np.exp(log(machine, places[:, None].astype(np.float32)))
    assert integrate.trapezoid(density, places) == pytest.approx(1, rel=1e-4)
    # A mixture of four normal ones: the mean of v is the mean of the hidden states' own.
    h = states(2)
    means = h @ machine.kernel[0] + machine.visible[0]
    weights = special.softmax(h @ machine.hidden + (means**2 - machine.visible[0] ** 2) / 2)
    mean = integrate.trapezoid(places * density, places)
    assert mean == pytest.approx(weights @ means, rel=1e-3)


# Estimates -----------------------------------------------------------------------------------


DRAWS = 2000


@functools.partial(jax.jit, static_argnames="kind")
def estimates(key, machine, batch, kind):
    """The exact gradient, and many estimates by 40 steps and by one: each [D] or [DRAWS, D]."""

    def one(key, steps):
        actual, _ = rbm.contrastive_divergence(key, machine, batch, steps=steps, kind=kind)
        return flat(actual)

    keys = jax.random.split(key, DRAWS)
    exact = flat(rbm.exact_gradient(machine, batch, kind))
    return exact, *(jax.vmap(functools.partial(one, steps=steps))(keys) for steps in (40, 1))


def flat(gradient):
    return jnp.concatenate([jnp.ravel(leaf) for leaf in gradient])


@pytest.mark.parametrize(("kind", "batch"), [("bernoulli", BATCH), ("gaussian", REAL)])
def test_many_steps_estimate_the_exact_gradient_and_one_points_its_way(machine, kind, batch):
    exact, long, short = jax.device_get(estimates(jax.random.key(0), machine, batch, kind))
    error = long.std(0, ddof=1) / np.sqrt(DRAWS)
    assert (np.abs(long.mean(0) - exact) < 4.5 * error).all()
    assert error.max() < 0.05 * np.abs(exact).max()
    mean, error = short.mean(0), short.std(0, ddof=1) / np.sqrt(DRAWS)
    assert mean @ exact / np.linalg.norm(mean) / np.linalg.norm(exact) > 0.5
    assert (np.abs(mean - exact) > 6 * error).any()  # biased, as it is known to be


def test_descending_cd_1_raises_the_exact_likelihood(machine):
    start = jax.tree.map(lambda x: 0.1 * x, machine)

    def update(machine, key):
        gradient, _ = rbm.contrastive_divergence(key, machine, BATCH)
        machine = jax.tree.map(lambda x, g: x - 0.1 * g, machine, gradient)
        return machine, jnp.mean(rbm.log_likelihood(machine, BATCH))

    keys = jax.random.split(jax.random.key(1), 400)
    _, actual = jax.jit(lambda start: jax.lax.scan(update, start, keys))(start)
    actual = np.asarray(actual)
    blocks = actual.reshape(4, 100).mean(1)
    assert (np.diff(blocks) > -0.02).all() and actual[-50:].mean() > actual[0] + 0.8


def test_a_persistent_chain_comes_to_the_model_s_distribution(machine, table):
    """Without learning: it continues from its own states, away from the initial batch."""
    chain = jnp.zeros((3000, V))

    def step(chain, key):
        return rbm.contrastive_divergence(key, machine, BATCH, chain=chain)[1], None

    keys = jax.random.split(jax.random.key(2), 60)
    end = np.asarray(jax.jit(lambda c: jax.lax.scan(step, c, keys)[0])(chain))
    wanted = table.sum(1) @ states(V)
    np.testing.assert_allclose(end.mean(0), wanted, atol=4.5 * 0.5 / np.sqrt(3000))


def test_means_of_the_last_step_remove_its_noise(machine):
    @jax.jit
    def look(machine, v):
        key = jax.random.key(0)
        one, two = (rbm.gibbs(key, machine, v, 1, mean_last=last) for last in (False, True))
        h = rbm.sample_hidden(jax.random.split(jax.random.fold_in(key, 0))[0], machine, v)
        return one, two, rbm.visible_mean(machine, h)

    one, two, mean = jax.device_get(look(machine, BATCH))
    assert set(np.unique(one)) <= {0.0, 1.0}
    np.testing.assert_allclose(two, mean, rtol=1e-6)


def test_reconstruction_is_scored_by_its_kind(machine):
    w, b, c = (np.asarray(leaf, np.float64) for leaf in machine)

    @jax.jit
    def look(machine):
        kinds = zip((BATCH, REAL), rbm.KINDS, strict=True)
        return [rbm.reconstruction_error(machine, v, kind) for v, kind in kinds]

    binary, real = look(machine)
    mean = special.expit(special.expit(BATCH @ w + c) @ w.T + b)
    wanted = -(special.xlogy(BATCH, mean) + special.xlogy(1 - BATCH, 1 - mean)).sum(1)
    np.testing.assert_allclose(binary, wanted, rtol=1e-5)
    back = special.expit(REAL @ w + c) @ w.T + b
    np.testing.assert_allclose(real, np.square(back - REAL).sum(1) / 2, rtol=1e-5)


def test_invalid_arguments_are_refused(machine):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"unknown kind .*'gausian'\. Did you mean 'gaussian'"):
        rbm.free_energy(machine, BATCH, "gausian")
    with pytest.raises(ValueError, match="at least 1 step"):
        rbm.gibbs(key, machine, BATCH, 0)
    with pytest.raises(ValueError, match="at most 20 hidden units"):
        rbm.log_partition(rbm.Machine(np.zeros((2, 21)), np.zeros(2), np.zeros(21)))
    with pytest.raises(ValueError, match="must consist of draws"):
        rbm.contrastive_divergence(key, machine, BATCH, chain=BATCH, mean_last=True)
    with pytest.raises(ValueError, match="visible and hidden units"):
        rbm.init_machine(key, 3, 0)
