"""The progress display, on a console that is a terminal and on one that is not."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

from cnnlab.report.progress import Progress


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def console(terminal):
    return rich.console.Console(file=io.StringIO(), force_terminal=terminal, width=160)


def start(clock, terminal=False, total=1000, **options):
    return Progress(total, 100, 8, clock, console(terminal), **options)


def output(progress):
    return progress._console.file.getvalue()


def test_the_rate_is_examples_over_time_and_gives_the_time_left(clock):
    with start(clock) as progress:
        assert progress.rate is None and progress.seconds_left is None
        clock.now += 10
        progress.update(50, {"loss": 1.0})
        assert progress.rate == pytest.approx(50 * 8 / 10)
        assert progress.seconds_left == pytest.approx(950 / 5)


def test_the_rate_leaves_the_compile_time_out(clock):
    with start(clock) as progress:
        clock.now += 60
        progress.compiled(60.0)
        clock.now += 1
        progress.update(10, {})
        assert progress.rate == pytest.approx(80)


def test_the_rate_leaves_steps_of_the_compiling_call_out(clock):
    with start(clock) as progress:
        clock.now += 60
        progress.compiled(60.0, step=10)
        clock.now += 1
        progress.update(10, {})
        progress.update(20, {})
        assert progress.rate == pytest.approx(80)


def test_the_rate_leaves_steps_before_a_resume_out(clock):
    with start(clock, start_step=900) as progress:
        clock.now += 2
        progress.update(950, {})
        assert progress.rate == pytest.approx(50 * 8 / 2)
        assert progress.seconds_left == pytest.approx(2)


def test_the_rate_follows_a_change_of_speed_and_is_smooth(clock):
    with start(clock) as progress:
        for step in range(1, 301):
            clock.now += 1.0
            progress.update(step, {})
        clock.now += 0.01  # one quick step does not make the rate jump
        progress.update(301, {})
        assert progress.rate == pytest.approx(8, rel=0.05)
        for step in range(302, 702):
            clock.now += 0.1
            progress.update(step, {})
        assert progress.rate == pytest.approx(80, rel=0.01)


def test_updates_rarer_than_the_smoothing_still_give_a_rate(clock):
    with start(clock) as progress:
        for step in (100, 200, 300):
            clock.now += 200
            progress.update(step, {})
        assert progress.rate == pytest.approx(4)


def test_off_a_terminal_there_are_plain_lines_only(clock):
    with start(clock) as progress:
        progress.compiled(3.24)
        for step in range(1, 101):
            clock.now += 0.5
            progress.update(step, {"loss": 0.5})
        progress.epoch("epoch 1  loss 0.5")
        progress.message("saved [bold]x[/bold] \x1b[31m" + "y" * 200)
    lines = output(progress).splitlines()
    assert lines[0] == "compiled in 3.2 s"
    assert lines[1] == "epoch 1  loss 0.5  (16.0 images/s, 7 min 30 s left)"
    assert lines[2] == "saved [bold]x[/bold] [31m" + "y" * 200
    assert len(lines) == 3
    assert all(c.isprintable() or c == "\n" for c in output(progress))


def test_on_a_terminal_the_bar_shows_epoch_rate_time_left_and_metrics(clock):
    with start(clock, terminal=True) as progress:
        clock.now += 10
        progress.update(250, {"loss": 0.123456, "accuracy": 0.5})
        progress._bar.refresh()
        shown = output(progress)
        progress.epoch("epoch 2 done")
    for text in ("epoch 3/10", "250/1000", "200 images/s", "30 s left", "loss 0.1235"):
        assert text in shown
    assert "epoch 2 done" in output(progress)


def test_the_display_ends_also_when_the_run_fails(clock):
    with pytest.raises(RuntimeError), start(clock, terminal=True) as progress:
        bar = progress._bar
        raise RuntimeError
    assert bar.live.is_started is False
    assert output(progress).count("\x1b[?25h") == output(progress).count("\x1b[?25l") == 1


def test_the_last_step_belongs_to_the_last_epoch(clock):
    with start(clock, terminal=True, total=250) as progress:
        progress.update(250, {})
        progress._bar.refresh()
    assert "epoch 3/3" in output(progress) and "epoch 4" not in output(progress)


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_prints_nothing(clock, terminal):
    out = console(terminal)
    with Progress(10, 5, 8, clock, out, quiet=True) as progress:
        progress.compiled(1.0)
        clock.now += 1
        progress.update(5, {"loss": 1.0})
        progress.epoch("epoch 1")
        progress.message("hello")
        assert progress.rate == pytest.approx(40)
    assert out.file.getvalue() == ""


@pytest.mark.parametrize("value", [jnp.float32(1.0), np.ones(2)])
def test_an_array_is_refused_before_anything_waits_for_it(clock, value):
    with start(clock) as progress, pytest.raises(TypeError, match=r"'loss'.*already arrived"):
        progress.update(1, {"loss": value})


def test_numpy_scalars_and_texts_are_numbers_enough(clock):
    with start(clock, terminal=True) as progress:
        progress.update(1, {"loss": np.float32(0.5), "best": "epoch 3"})
        progress._bar.refresh()
    assert "loss 0.5  best epoch 3" in output(progress)


def test_a_step_out_of_range_or_going_back_is_refused(clock):
    with start(clock) as progress:
        progress.update(20, {})
        for step in (19, 1001):
            with pytest.raises(ValueError, match=rf"\[20, 1000\].*got {step}"):
                progress.update(step, {})


def test_numbers_out_of_range_are_refused(clock):
    with pytest.raises(ValueError, match="steps_per_epoch must be >= 1, got 0"):
        Progress(10, 0, 8, clock)
    with pytest.raises(ValueError, match=r"start_step must lie in \[0, 10\], got 11"):
        Progress(10, 5, 8, clock, start_step=11)
