"""Writes a section of the page of what held and what broke."""

import datetime
import importlib.metadata
import pathlib
import platform
from collections.abc import Sequence

_HEAD = """# What holds when files are damaged, processes killed, or data hostile

Each section is written by its script, which prints "held" or "broke" for every case.
"""


def write_section(path: pathlib.Path, title: str, script: str, lines: Sequence[str]) -> None:
    """Writes the section of a script; the sections of other scripts stay as they are.

    Args:
      path: of the page, made where it is missing.
      title: of the section.
      script: the module in ``benchmarks``.
      lines: below the line that says when, how and with which versions they came about.
    """
    begin, end = f"<!-- {script} -->", f"<!-- end of {script} -->"
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    about = (
        f"`python -m benchmarks.{script} --write {path.as_posix()}`, {datetime.date.today()}, "
        f"Python {platform.python_version()}, {versions}, {platform.system()}."
    )
    section = "\n".join([begin, f"## {title}", "", about, "", *lines, end]) + "\n"
    page = path.read_text() if path.is_file() else _HEAD
    before, found, after = page.partition(begin)
    if found:
        page = before + section + after.partition(f"{end}\n")[2]
    else:
        page = f"{page}\n{section}"
    path.write_text(page)


_PACKAGES = ("jax", "orbax-checkpoint", "numpy", "pillow", "safetensors")
