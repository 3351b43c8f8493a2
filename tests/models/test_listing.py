"""The zoo as a table."""

import pytest

from cnnlab import models
from cnnlab.models import listing


def test_every_network_is_listed_once_with_its_family():
    lines = listing.zoo_lines()
    listed = [name for line in lines if line.startswith("  ") for name in line.split()]
    assert sorted(listed) == sorted(models.names())
    row = next(index for index, line in enumerate(lines) if " lenet5_1998" in line)
    assert lines[row - 1].startswith("LeNet-5 as published")


def test_a_network_of_ones_own_is_listed_too(monkeypatch):
    def mine(num_classes: int = 10, *, width: int = 4) -> models.Network:
        """A network of my own.

        With more lines.
        """
        return models.create("mlp", num_classes, widths=(width,))

    monkeypatch.setattr(models.registry, "_MAKERS", {**models.registry._MAKERS, "mine": mine})
    assert listing.zoo_lines()[-2:] == ["A network of my own.", "  mine"]
    assert listing.model_lines("mine")[1] == "  options, by their defaults: width=4"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("lenet5_1998", "60,850 for images of 28x28x1"),  # LeCun et al. 1998
        ("resnet20", "269,722 for images of 32x32x3"),  # He et al. 2016: 0.27 million
    ],
)
def test_parameters_are_the_published_ones(name, count):
    assert count in listing.model_lines(name)[-1]


def test_a_network_is_counted_for_the_images_that_it_takes():
    assert "28x28" not in "".join(listing.model_lines("alexnet"))
    with pytest.raises(ValueError, match="Did you mean 'mlp'"):
        listing.model_lines("mlpp")
