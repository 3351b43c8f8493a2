"""Names of classes that look the same."""

import pytest

from cnnlab.data.class_lookalikes import case_notes, check_names


@pytest.mark.parametrize(
    "pair", [("caf\u00e9", "cafe\u0301"), ("cat", "cat "), ("a b", "a\u00a0b")]
)
def test_names_that_look_the_same_are_refused(pair):
    with pytest.raises(ValueError, match="differ to the eye, got 'c?a.* and ") as error:
        check_names(("dog", *pair), "d.npz")
    assert str(error.value).isascii()


def test_names_that_differ_are_taken_and_case_is_noted():
    names = ("a", "A", "b")
    check_names(names, "d.npz")
    assert case_notes(names) == ("classes that differ in case only: 'a' and 'A'",)
    assert case_notes(("a", "b")) == ()
