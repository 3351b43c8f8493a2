"""The learning rate at the steps where it changes, against closed forms."""

import math

import jax
import numpy as np
import optax
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


def test_equal_cycles_of_the_length_are_equation_2_of_snapshot_ensembles():
    total, cycles, rate = 30, 3, 0.2
    length = math.ceil(total / cycles)
    want = [rate / 2 * (math.cos(math.pi * ((t - 1) % length) / length) + 1) for t in range(1, 31)]
    schedule = schedules.cosine_cycles(rate, schedules.cycle_lengths(total, cycles))
    np.testing.assert_allclose(rates(schedule, range(30)), want, rtol=1e-5, atol=1e-8)


def test_growing_cycles_are_optax_s_restarts():
    lengths = (3, 6, 12)
    theirs = optax.sgdr_schedule(
        [
            {
                "init_value": 0.4,
                "peak_value": 0.4,
                "decay_steps": n,
                "warmup_steps": 0,
                "end_value": 0.1,
            }
            for n in lengths
        ]
    )
    ours = schedules.cosine_cycles(0.4, lengths, final=0.1)
    np.testing.assert_allclose(rates(ours, range(25)), rates(theirs, range(25)), rtol=1e-5)


def test_cycles_start_at_the_rate_and_stay_at_the_final_one_after_the_last():
    schedule = schedules.cosine_cycles(0.4, (4, 2), final=0.1)
    got = rates(schedule, [0, 2, 4, 5, 6, 100])
    np.testing.assert_allclose(got, [0.4, 0.25, 0.4, 0.25, 0.1, 0.1], rtol=1e-6)


def test_one_cycle_is_the_cosine():
    np.testing.assert_allclose(
        rates(schedules.cosine_cycles(0.4, [8], final=0.1), range(10)),
        rates(schedules.cosine(0.4, 8, final=0.1), range(10)),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("total", "cycles", "growth", "lengths"),
    [
        (30, 3, 1, (10, 10, 10)),
        (11, 3, 1, (4, 4, 3)),
        (3, 3, 1, (1, 1, 1)),
        (7, 3, 2, (1, 2, 4)),
        (70, 3, 2, (10, 20, 40)),
        (10, 3, 2, (1, 3, 6)),
        (19, 3, 1.5, (4, 6, 9)),
        (5, 1, 3, (5,)),
    ],
)
def test_lengths_of_cycles(total, cycles, growth, lengths):
    assert schedules.cycle_lengths(total, cycles, growth) == lengths


@pytest.mark.parametrize("growth", [1, 1.01, 1.3, 2, 3.7])
def test_lengths_add_up_and_follow_the_growth_within_a_unit(growth):
    for total in (40, 157, 1000):
        lengths = schedules.cycle_lengths(total, 3, growth)
        assert sum(lengths) == total
        want = total * growth ** np.arange(3) / sum(growth ** np.arange(3))
        assert (abs(np.asarray(lengths) - want) < 1 + 1e-9).all()
        assert growth == 1 or list(lengths) == sorted(lengths)


@pytest.mark.parametrize("period", [2, 4, 7, 10])
def test_the_triangle_of_fast_geometric_ensembles(period):
    def paper(i, high=0.05, low=0.01):
        t = ((i - 1) % period + 1) / period
        if t <= 1 / 2:
            return (1 - 2 * t) * high + 2 * t * low
        return (2 - 2 * t) * low + (2 * t - 1) * high

    got = rates(schedules.triangular_cycles(0.05, 0.01, period), range(25))
    np.testing.assert_allclose(got, [paper(i) for i in range(1, 26)], rtol=1e-5)
    if period % 2 == 0:  # where a network is collected
        lowest = [i for i in range(1, 26) if got[i - 1] == min(got)]
        assert lowest == list(range(period // 2, 26, period))
        assert min(got) == pytest.approx(0.01)


def test_swa_is_constant_to_a_half_then_linear_to_nine_tenths():
    def authors(epoch, until=40, high=0.1, low=0.02):
        t, ratio = epoch / until, low / high
        if t <= 0.5:
            return high
        return high * (1.0 - (1.0 - ratio) * (t - 0.5) / 0.4 if t <= 0.9 else ratio)

    got = rates(schedules.swa(0.1, 40, 0.02), range(60))
    np.testing.assert_allclose(got, [authors(epoch) for epoch in range(60)], rtol=1e-5)


def test_joined_schedules_count_from_where_they_begin():
    schedule = schedules.join(
        [
            schedules.constant(1.0),
            schedules.cosine_cycles(0.4, (2, 2)),
            schedules.triangular_cycles(0.3, 0.1, 2),
        ],
        [3, 7],
    )
    want = [1, 1, 1, 0.4, 0.2, 0.4, 0.2, 0.1, 0.3, 0.1]
    np.testing.assert_allclose(rates(schedule, range(10)), want, rtol=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.create("step", 0.1, 20, warmup_steps=3),
        schedules.swa(0.1, 20, 0.05),
        schedules.cosine_cycles(0.1, (4, 6, 9), 0.01),
        schedules.triangular_cycles(0.1, 0.02, 6),
        schedules.join([schedules.constant(0.1), schedules.triangular_cycles(0.1, 0.02, 6)], [5]),
    ],
)
def test_a_traced_step_has_the_rate_of_the_plain_one(schedule):
    traced = jax.jit(jax.vmap(schedule))(jnp.arange(25))
    assert traced.dtype == jnp.float32
    np.testing.assert_allclose(traced, rates(schedule, range(25)), rtol=1e-6)


@pytest.mark.parametrize("name", schedules.NAMES)
def test_create_makes_what_the_functions_make(name):
    alone = {
        "constant": schedules.constant(0.3),
        "step": schedules.step(0.3, [4, 8], 0.2),
        "cosine": schedules.cosine(0.3, 10),
        "swa": schedules.swa(0.3, 8, 0.06),  # averaging begins at three quarters
    }[name]
    made = schedules.create(name, 0.3, 10, warmup_steps=2, milestones=(0.4, 0.8), factor=0.2)
    np.testing.assert_array_equal(
        rates(made, range(12)), rates(schedules.warmup(alone, 2), range(12))
    )


@pytest.mark.parametrize(
    ("make", "message"),
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
        (lambda: schedules.swa(0.1, 0, 0.1), "steps must be at least 1, got 0"),
        (lambda: schedules.swa(0.1, 5, 0.2), "at most learning_rate, got swa_learning_rate=0.2"),
        (lambda: schedules.swa(0.1, 5, 0.0), "rates must be positive"),
        (lambda: schedules.cycle_lengths(5, 0), "cycles must be at least 1, got 0"),
        (lambda: schedules.cycle_lengths(5, 6), "got 5 for 6 cycles.*fewer cycles"),
        (lambda: schedules.cycle_lengths(5, 3, 2.0), "got 5 for 3 cycles with a growth of 2"),
        (lambda: schedules.cycle_lengths(5, 2, 0.5), "growth must be at least 1.*got 0.5"),
        (lambda: schedules.cycle_lengths(5, 2, float("nan")), "growth must be at least 1"),
        (lambda: schedules.cosine_cycles(0.0, [5]), "learning rate must be positive"),
        (lambda: schedules.cosine_cycles(0.1, []), "lengths must be one or more"),
        (lambda: schedules.cosine_cycles(0.1, [3, 0]), r"lengths must be .* got \[3, 0\]"),
        (lambda: schedules.cosine_cycles(0.1, [3], 0.2), "final must be in"),
        (lambda: schedules.cosine_cycles(0.1, [3], -0.2), "final must be in"),
        (lambda: schedules.triangular_cycles(0.1, 0.2, 4), "low at most high, got low=0.2"),
        (lambda: schedules.triangular_cycles(0.1, 0.0, 4), "rates must be positive"),
        (lambda: schedules.triangular_cycles(0.1, 0.1, 1), "period must be at least 2 steps"),
        (lambda: schedules.join([], []), "got 0 schedules and 0 boundaries"),
        (lambda: schedules.join([schedules.constant(1.0)], [3]), "1 schedules .* 1 boundaries"),
        (lambda: schedules.join([schedules.constant(1.0)] * 3, [3, 3]), r"rising .* got \[3, 3\]"),
        (lambda: schedules.join([schedules.constant(1.0)] * 2, [0]), r"rising .* got \[0\]"),
    ],
)
def test_invalid_schedules_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("milestones", [(2,), (80, 120), (-0.1,), (0.75, 0.5), (float("nan"),)])
def test_milestones_are_rising_fractions_of_the_training(milestones):
    with pytest.raises(ValueError, match="milestones must be rising fractions of the training"):
        schedules.create("step", 0.1, 100, milestones=milestones)
    assert schedules.create("step", 0.1, 100, milestones=(0.5, 1))(99) == pytest.approx(0.01)
