"""The scripts that attack run directories and readers: what they call held and broke."""

import json
import subprocess
import sys
import zlib

import pytest

from benchmarks import damage
from benchmarks.hostile import data, images, weights
from benchmarks.hostile.cases import zeros
from benchmarks.in_process import Outcome
from benchmarks.robustness_page import write_section


@pytest.mark.parametrize(
    ("outcome", "same", "verdict"),
    [
        (Outcome("finished", "", "as always\n"), True, "same"),
        (Outcome("finished", "", "as always\n"), False, "silent"),
        (Outcome("finished", "", "as always\nanother word\n"), False, "silent"),
        (Outcome("finished", "", "RUN/config.json is damaged\n"), False, "named"),
        (Outcome("finished", "", "Traceback (most recent call last):\n  x\n"), True, "trace"),
        (Outcome("refused", "error: RUN is damaged", ""), False, "refused"),
        (Outcome("refused", "error: one\nand two", ""), False, "long message"),
        (Outcome("refused", "error: " + "x" * 1000, ""), False, "long message"),
        (Outcome("trace", "Traceback\nKeyError: 'a'", ""), False, "trace"),
        (Outcome("hang", "no end in 9 s", ""), False, "hang"),
    ],
)
def test_only_what_is_the_same_named_or_refused_has_held(outcome, same, verdict):
    assert damage.judge(outcome, "RUN", "config.json", same, "as always")[0] == verdict
    assert (verdict in damage.HELD) != (verdict in damage.BROKE)


def test_one_bit_is_flipped(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    damage.flip(path)
    assert sum(byte.bit_count() for byte in path.read_bytes()) == 1


@pytest.mark.parametrize("size", [0, 5, 2**24, 2**25 + 7])
def test_zeros_are_packed_without_packing_them(size):
    assert zlib.decompress(zeros(size)) == bytes(size)


def test_there_are_at_least_a_hundred_hostile_files_of_every_kind():
    cases = [*images.cases(), *data.cases(), *weights.cases()]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names) >= 100
    assert {case.reader for case in cases} == {
        *("image", "folder", "mnist", "cifar10", "npz", "weights", "record", "program")
    }


def test_a_section_of_the_page_takes_the_place_of_its_own_only(tmp_path):
    page = tmp_path / "page.md"
    write_section(page, "One", "one", ["first"])
    write_section(page, "Two", "two", ["second"])
    write_section(page, "One", "one", ["third"])
    text = page.read_text()
    assert "first" not in text
    assert text.index("third") < text.index("## Two") < text.index("second")
    assert text.count("## One") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", [["hostile_files"], ["processes"], ["damage", "--only", "moves"], ["damage"]]
)
def test_everything_holds(script):
    command = [sys.executable, "-m", f"benchmarks.{script[0]}", *script[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    broke = [line for line in done.stdout.splitlines() if "broke" in line]
    assert done.returncode == 0, json.dumps(broke, indent=1)
