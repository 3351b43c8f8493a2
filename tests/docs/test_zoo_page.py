"""docs/zoo.md is what docs/zoo.py writes."""

import importlib.util
import pathlib

import pytest

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
QUICK = ("lenet5_1998", "lenet5", "alexnet_small", "vgg16_small", "resnet20", "dense_autoencoder")


@pytest.fixture(scope="module")
def zoo():
    spec = importlib.util.spec_from_file_location("zoo_page", DOCS / "zoo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def written(zoo):
    """The lines of its table, in the page."""
    page = (DOCS / "zoo.md").read_text()
    assert page.startswith(zoo.HEAD) and page.endswith(f"\n{zoo.tail()}")
    return page.removeprefix(zoo.HEAD).removesuffix(f"\n{zoo.tail()}").splitlines()


def test_every_network_of_the_list_has_its_line(zoo, written):
    assert len(written) == len(zoo.PUBLISHED)
    for line, (name, _, _, published, _) in zip(written, zoo.PUBLISHED, strict=True):
        assert line.startswith(f"| `{name}`")
        assert published is None or f" | {published:,} | " in line


@pytest.mark.parametrize("name", QUICK)
def test_the_line_of_a_network_is_what_is_counted(zoo, written, name):
    entry = next(each for each in zoo.PUBLISHED if each[0] == name)
    assert zoo.row(*entry) in written


@pytest.mark.slow
def test_the_lines_of_all_networks_are_what_is_counted(zoo, written):
    assert [zoo.row(*each) for each in zoo.PUBLISHED] == written


def test_measured_accuracies_are_the_published_ones(zoo):
    measured = zoo.read_json(zoo.ACCURACIES)["accuracies"]
    for name, published in zoo.CIFAR10.items():
        assert 100 * measured[name] == pytest.approx(published, abs=0.02)
