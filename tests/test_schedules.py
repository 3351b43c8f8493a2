"""The learning rate at the steps where it changes, against closed forms."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import schedules


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_constant_stays():
    assert rates(schedules.constant(0.25), [0, 1, 10**6]) == [0.25] * 3


def test_step_falls_at_the_boundaries_themselves():
    schedule = schedules.step(1.0, [3, 5], factor=0.5)
    np.testing.assert_allclose(
        rates(schedule, [0, 2, 3, 4, 5, 6, 99]), [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]
    )


def test_the_papers_steps_are_at_a_half_and_three_quarters_by_tenths():
    schedule = schedules.create("step", 0.1, 64)
    got = rates(schedule, [0, 31, 32, 47, 48, 63])
    np.testing.assert_allclose(got, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6)


def test_boundaries_that_coincide_apply_the_factor_twice():
    schedule = schedules.step(1.0, [2, 2], factor=0.1)
    np.testing.assert_allclose(rates(schedule, [1, 2]), [1.0, 0.01], rtol=1e-6)


@pytest.mark.parametrize("total", range(1, 6))
def test_a_very_short_training_may_have_steps(total):
    assert float(schedules.create("step", 1.0, total)(total)) == pytest.approx(0.01)


def test_cosine_is_half_a_cosine_and_then_constant():
    schedule = schedules.cosine(0.4, 8, final=0.1)
    want = [0.1 + 0.3 * (1 + np.cos(np.pi * t / 8)) / 2 for t in range(9)]
    np.testing.assert_allclose(rates(schedule, range(9)), want, rtol=1e-5)
    np.testing.assert_allclose(rates(schedule, [0, 4, 8, 100]), [0.4, 0.25, 0.1, 0.1], rtol=1e-6)


def test_cosine_ends_at_zero_by_default():
    assert abs(float(schedules.cosine(0.4, 8)(8))) < 1e-8


def test_warmup_rises_linearly_from_a_part_of_the_rate_and_joins():
    schedule = schedules.warmup(schedules.constant(1.0), 4)
    np.testing.assert_allclose(rates(schedule, range(6)), [0.2, 0.4, 0.6, 0.8, 1, 1], rtol=1e-6)


def test_warmup_rises_to_where_the_schedule_then_is_and_does_not_delay_it():
    cosine = schedules.cosine(0.4, 20)
    schedule = schedules.warmup(cosine, 5)
    peak = float(cosine(5))
    np.testing.assert_allclose(
        rates(schedule, range(5)), [peak * (t + 1) / 6 for t in range(5)], rtol=1e-5
    )
    np.testing.assert_allclose(
        rates(schedule, range(5, 25)), rates(cosine, range(5, 25)), rtol=1e-5, atol=1e-8
    )


def test_no_warmup_is_the_schedule_itself():
    schedule = schedules.constant(0.1)
    assert schedules.warmup(schedule, 0) is schedule


def test_a_traced_step_has_the_rate_of_the_plain_one():
    schedule = schedules.create("step", 0.1, 20, warmup_steps=3)
    traced = jax.jit(jax.vmap(schedule))(jnp.arange(25))
    np.testing.assert_allclose(traced, rates(schedule, range(25)), rtol=1e-6)


@pytest.mark.parametrize("name", schedules.NAMES)
def test_create_makes_what_the_functions_make(name):
    alone = {
        "constant": schedules.constant(0.3),
        "step": schedules.step(0.3, [4, 8], 0.2),
        "cosine": schedules.cosine(0.3, 10),
    }[name]
    made = schedules.create(name, 0.3, 10, warmup_steps=2, milestones=(0.4, 0.8), factor=0.2)
    np.testing.assert_array_equal(
        rates(made, range(12)), rates(schedules.warmup(alone, 2), range(12))
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: schedules.constant(0.0), "learning rate must be positive, got 0.0"),
        (lambda: schedules.cosine(-1.0, 5), "learning rate must be positive"),
        (lambda: schedules.cosine(1.0, 0), "steps must be at least 1, got 0"),
        (lambda: schedules.step(float("nan"), [1]), "learning rate must be positive"),
        (lambda: schedules.step(1.0, [5, 3]), r"rising steps >= 0, got \[5, 3\]"),
        (lambda: schedules.step(1.0, [-1, 3]), r"rising steps >= 0, got \[-1, 3\]"),
        (lambda: schedules.step(1.0, [3], 0.0), "factor must be positive"),
        (lambda: schedules.warmup(schedules.constant(1.0), -1), "warm-up steps must be >= 0"),
        (lambda: schedules.create("cosine", 1.0, 5, warmup_steps=5), "5 steps must be shorter"),
        (lambda: schedules.create("cosin", 1.0, 5), "unknown schedule 'cosin'.*'cosine'"),
    ],
)
def test_what_is_no_schedule_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
