"""The pages of ``docs`` that show code: it runs as it stands."""

import pathlib
import re

import pytest

from cnnlab.models import registry
from cnnlab.models.weights import mapping

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["design.md", "transferring.md", "adding_a_network.md"])
def test_the_blocks_of_a_page_run_one_after_the_other(page, monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    monkeypatch.setattr(registry, "_MAKERS", dict(registry._MAKERS))
    monkeypatch.setattr(mapping, "_MAPPINGS", dict(mapping._MAPPINGS))
    monkeypatch.setattr(mapping, "_families", {})
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("results/*.md"), DOCS.parent / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_exist(page):
    links = re.findall(r"\]\((?!https:)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
