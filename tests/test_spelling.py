"""Names in error messages."""

import pytest

from cnnlab import rates, spelling


def test_of_many_names_the_first_and_how_many_more_there_are():
    assert spelling.some("abc", 3) == "a, b, c"
    assert spelling.some(iter("abcdefgh")) == "a, b, c, d, e, f and 2 more"
    assert spelling.some([]) == ""


def test_one_string_is_not_taken_for_its_letters():
    spelling.check_several("stages", ("stem",))
    with pytest.raises(ValueError, match=r"stages must be a tuple.*write \('stem',\) for 'stem'"):
        spelling.check_several("stages", "stem")
    with pytest.raises(ValueError, match="optional must be a tuple"):
        rates.Rates((("stem/.*", 0.0),), optional="stem/.*")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("café", "café"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", r"caf\xe9"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\udce9"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_printable_name_is_utf8(name, shown):
    assert spelling.printable(name) == shown
    shown.encode()


def test_a_message_is_one_line_with_its_start_and_its_end():
    assert spelling.one_line("a  b:\n  c\n\n d.\n") == "a b: c d."
    long = spelling.one_line("start " + "x" * 5000 + "\nBring it back.")
    assert len(long) <= 1000 and long.startswith("start") and long.endswith("Bring it back.")


def test_an_error_of_a_library_is_told_in_one_line():
    assert spelling.one_line(ValueError("first\n  second\n")) == "first second"
    assert spelling.one_line(MemoryError()) == "MemoryError"


def test_of_a_thousand_known_names_not_all_are_listed():
    message = spelling.unknown("class", "y" * 500, [f"class{i}" for i in range(1000)])
    assert len(message) < 800 and message.endswith("class49 and 950 more.")
