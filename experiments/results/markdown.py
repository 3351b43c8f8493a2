"""Markdown: tables, lists, and text in which nothing is markup by accident."""

import re
from collections.abc import Sequence

_MARKUP = re.compile(r"[\\|*<>~`\[\]]|(?<!\w)_|_(?!\w)")


def escape(text: str) -> str:
    """Plain text as Markdown, also within a cell of a table: one line, no markup."""
    return _MARKUP.sub(lambda match: f"\\{match[0]}", " ".join(text.split()))


def link(text: str, target: str) -> str:
    """A link; ``text`` is plain."""
    return f"[{escape(text)}]({target})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already.

    Raises:
      ValueError: a row with more or fewer cells than the head.
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row must have {len(head)} cells, {list(head)}, got {list(row)}.")
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text."""
    return table(list(map(escape, head)), [list(map(escape, row)) for row in rows])


def text_block(lines: Sequence[str]) -> str:
    """Lines as they are, in a font of one width."""
    return "\n".join(["```text", *(line.rstrip() for line in lines), "```"])
