"""Modules whose parts can be frozen one by one."""

import flax.linen as nn


class Part(nn.Module, kw_only=True):
    """A module in which single modules can be frozen: they run as in evaluation.

    A stage of a network derives from it where it holds normalisation or dropout, and asks
    ``trains`` for each of them:

        x = norm(self.norm, name="norm1")(x, self.trains("norm1", train))

    and passes the rest on to a module of modules:

        x = Block(features, frozen=self.frozen_in("block0"), name="block0")(x, train=…)

    Attributes:
      frozen: names of modules in it, such as "norm1" or "block0/norm1", that run as in evaluation
        whatever ``train`` is. ``Network`` sets it.
    """

    frozen: tuple[str, ...] = ()

    def trains(self, name: str, train: bool) -> bool:
        """True where the module ``name`` runs as in training."""
        return train and name not in self.frozen

    def frozen_in(self, name: str) -> tuple[str, ...]:
        """The frozen modules within the module ``name``, by their names in it."""
        return names_within(self.frozen, name)


def names_within(paths: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Of paths such as "block0/norm1" those within "block0", from there on: "norm1"."""
    return tuple(path.removeprefix(f"{name}/") for path in paths if path.startswith(f"{name}/"))
