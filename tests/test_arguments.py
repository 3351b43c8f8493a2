"""Checks of arguments."""

import math

import numpy as np
import pytest

from cnnlab import arguments


@pytest.mark.parametrize("rate", [0.1, 1, np.float32(0.5), np.asarray(0.2)])
def test_one_positive_number_is_a_rate(rate):
    arguments.check_rate(rate)


@pytest.mark.parametrize("rate", [0, -0.1, math.nan, math.inf, "0.1", None, np.ones(2)])
def test_anything_else_is_none(rate):
    with pytest.raises(
        ValueError, match="the learning rate must be (positive|finite|one number), got"
    ):
        arguments.check_rate(rate)


def test_several_rates_name_what_gives_members_their_own():
    with pytest.raises(ValueError, match=r"got \[0.1, 0.2\]. For one rate a member.*varied=True"):
        arguments.check_rate([0.1, 0.2])


def test_whole_numbers_are_those_that_can_be_an_index():
    arguments.check_whole("n", np.int32(3), least=3)
    with pytest.raises(ValueError, match="n must be at least 3, got 2"):
        arguments.check_whole("n", 2, least=3)
    for wrong in (3.0, "3", True, None, [3]):
        with pytest.raises(ValueError, match="n must be a whole number of at least 3, got"):
            arguments.check_whole("n", wrong, least=3)


@pytest.mark.parametrize(
    ("value", "default"),
    [
        *((8, 16), (np.int64(8), 16), (1, 0.5), (True, False)),
        *(((4, 4), (8,)), ([4], (8, 8)), ((), (8,)), ((0.5,), (0.1,))),
        *(("SAME", "VALID"), (2, "VALID"), ("A", None)),
    ],
)
def test_a_value_of_the_kind_of_the_default_is_taken(value, default):
    arguments.check_like("width", value, default)


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("banana", 16, "a whole number, such as 16, got 'banana'"),
        (1.5, 16, "a whole number"),
        (True, 16, "a whole number"),
        ("x", 0.5, "a number, such as 0.5"),
        (1, False, "True or False"),
        (8, (256, 128), r"widths >= 1, such as \(256, 128\), got 8"),
        ((8, 0), (256, 128), "widths >= 1"),
        ("88", (256, 128), "widths >= 1"),
    ],
)
def test_one_of_another_kind_is_refused(value, default, expected):
    with pytest.raises(ValueError, match=f"^width must be {expected}"):
        arguments.check_like("width", value, default)
