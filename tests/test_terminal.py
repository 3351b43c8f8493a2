"""Output in any encoding, to a reader that may go."""

import os
import subprocess
import sys

import pytest

from cnnlab.terminal import plain

WRITES = "from cnnlab.terminal import make_forgiving; make_forgiving(); "


def written(code, **environment):
    command = [sys.executable, "-c", WRITES + code]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_has_a_spelling_is_spelled():
    text = (
        "9.3 \N{PLUS-MINUS SIGN} 0.2, T\N{SUPERSCRIPT TWO} \N{MULTIPLICATION SIGN} \xe9\u65e5\u2026"
    )
    assert plain(text) == "9.3 +- 0.2, T2 x e?..."


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_character_can_be_printed(encoding):
    text = written("print('± → é')", PYTHONIOENCODING=encoding).decode(encoding)
    expected = {"ascii": "+- -> e", "latin-1": "± -> é", "utf-8": "± → é"}
    assert text.strip() == expected[encoding]


def test_a_file_name_that_is_no_text_can_be_printed():
    assert written("print('a\\udcff.png')", PYTHONIOENCODING="utf-8").strip() == b"a?.png"


def test_a_reader_that_goes_does_not_end_the_program(tmp_path):
    code = f"[print('x' * 80) for _ in range(9999)]; open({str(tmp_path / 'end')!r}, 'w')"
    command = [sys.executable, "-c", WRITES + code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
    assert (tmp_path / "end").exists()


def test_a_warning_of_this_project_is_its_message_alone():
    here = "import warnings; from cnnlab.terminal import show_messages_only; show_messages_only(); "
    ours = "import cnnlab.report as r; f = r.__file__; "
    code = f"{here}{ours}warnings.warn_explicit('spoilt', UserWarning, %s, 3)"
    for file, expected in (("f", "warning: spoilt\n"), ("'x.py'", "x.py:3: UserWarning: spoilt\n")):
        command = [sys.executable, "-c", code % file]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == expected


def test_what_orbax_left_undone_is_no_trace(tmp_path):
    """A coroutine that raises as it is thrown away, in a file of Orbax and in another one."""
    source = (
        "async def read():\n    try:\n        await stay()\n    finally:\n        raise OSError\n"
        "class stay:\n    def __await__(self):\n        yield\n"
        "c = read(); c.send(None); del c\n"
    )
    for folder, silent in (("orbax", True), ("other", False)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "run.py").write_text(source)
        path = str(tmp_path / folder / "run.py")
        code = (
            "from cnnlab.terminal import show_messages_only; show_messages_only(); import runpy; "
        )
        command = [sys.executable, "-c", f"{code}runpy.run_path({path!r})"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (done.stderr == "") == silent
