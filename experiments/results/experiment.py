"""Keeps a result if one is named, and writes every page and the README's part."""

import pathlib

from cnnlab.files import write_bytes

from ..cli import host
from . import benchmarks, highlights, keeping, pages
from .config import Config, check

BEGIN, END = "<!-- results: written by python -m experiments.results -->", "<!-- end of results -->"


def run(config: Config) -> list[pathlib.Path]:
    """Keeps the result of ``config.add``, if any, and writes all pages.

    Returns:
      The pages that were written.

    Raises:
      ValueError: if the run is not finished, a highlight is no claim, or the README has no place
        for its part; then nothing is written but the kept result.
    """
    check(config)
    say, root = host().say, config.root
    folder = root / "results"
    readme = (root / "README.md").read_text(encoding="utf-8")
    before, begin, remaining = readme.partition(BEGIN)
    _, end, after = remaining.partition(END)
    if not begin or not end:
        raise ValueError(f"{root / 'README.md'} must hold the lines {BEGIN!r} and {END!r}.")
    if config.add is not None:
        say(f"kept as {keeping.keep(config.add, folder, config.name)}")

    kept = keeping.read_all(folder)
    chosen = highlights.read(folder / keeping.HIGHLIGHTS)
    section = highlights.section(kept, chosen)
    texts = {each.name: pages.page(each, keeping.figures(each, kept)) for each in kept}
    texts["README"] = pages.index(kept)
    texts["benchmarks"] = benchmarks.page(root / "benchmarks" / "results")

    text = f"{before}{BEGIN}\n\n{section}\n\n{END}{after}"
    write_bytes(root / "README.md", text.encode())
    written = _write_pages(root / highlights.PAGES, texts)
    say(f"wrote {len(written)} pages in {root / highlights.PAGES} and the part of README.md")
    return written


def _write_pages(folder: pathlib.Path, texts: dict[str, str]) -> list[pathlib.Path]:
    """Writes the pages, and deletes those of results that are kept no longer."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.stem not in texts and old.read_text(encoding="utf-8").startswith(pages.WRITTEN):
            old.unlink()
    written = [folder / f"{name}.md" for name in texts]
    for path, text in zip(written, texts.values(), strict=True):
        write_bytes(path, text.encode())
    return written
