"""The recipes of fine-tuning by name, their settings, and what a lecture recommends.

Importing this module imports no jax; ``recipes`` turns a recipe into rates.

Source: Karpathy and Johnson, CS231n, Stanford, lectures "CNNs in practice" and "Transfer learning",
2016; gradual unfreezing by Howard and Ruder, ACL 2018.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Literal

RECIPES = {
    "linear": "a linear classifier on top: all stages but the head are frozen",
    "top": "the last stages are fine-tuned at a lower rate than the head, the others frozen",
    "all": "all stages are fine-tuned, those before the head at a lower rate",
    "layerwise": "all stages, each at a rate of its own, the lower the further from the head",
    "gradual": "the head alone first, then a stage more in each phase",
    "rules": "every parameter at the rate of the one rule that matches it",
    "scratch": "from fresh weights: nothing is transferred",
}

Cache = Literal["memory", "disk", "none"]


@dataclasses.dataclass(frozen=True)
class Details:
    """The choices that the recipes leave open.

    Attributes:
      top: the number of stages that "top" trains, the head among them.
      body: the factor of the rate of "top" and "all" against the head's.
      decay: "layerwise" takes this factor from stage to stage, in place of 1, 1/10 and 1/100.
      copies: with a frozen front, the number of augmented copies of each image whose outputs of the
        front are trained on, computed once; 0 for the images themselves, or for augmentation
        without a cache.
      cache: where the outputs of a frozen front are kept: in memory, on the disk (in the run
        directory), or nowhere: the front then runs in every step.
      rules: of "rules": ``(pattern, factor)``, as of ``Rates``; exactly one for every parameter.
      reinitialise: stages or patterns that start afresh, as for ``transfer.copy_variables``; the
        last stage if empty. They must not be frozen.

    Raises:
      ValueError: for numbers out of range, or a pattern that is no regular expression.
    """

    top: int = 2
    body: float = 0.1
    decay: float | None = None
    copies: int = 0
    cache: Cache = "memory"
    rules: tuple[tuple[str, float], ...] = ()
    reinitialise: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.copies < 0:
            raise ValueError(f"copies must be at least 0, got {self.copies}.")
        if not 0 < self.body < math.inf:
            raise ValueError(f"the rate of the body must be a factor > 0, got {self.body}.")
        if self.copies and self.cache == "none":
            raise ValueError("copies are of the cached kind: choose the cache memory or disk.")
        for pattern in self.reinitialise:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    "what starts afresh must be stages or regular expressions of whole paths, got "
                    f"{pattern!r}: {error}."
                ) from error

    def fresh(self, stages: Sequence[str]) -> tuple[str, ...]:
        """The stages or patterns that start afresh in a network of these stages."""
        return self.reinitialise or tuple(stages[-1:])


def parse_rules(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The rules of texts such as "stage[12]/.*=0.1".

    Raises:
      ValueError: if one does not read PATTERN=FACTOR.
    """
    rules = []
    for text in texts:
        pattern, equals, factor = text.rpartition("=")
        try:
            number = float(factor) if equals and pattern else math.nan
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise ValueError(
                "a rule must read PATTERN=FACTOR, a regular expression and a number >= 0 such as "
                f"stage[12]/.*=0.1, got {text!r}."
            )
        rules.append((pattern, number))
    return tuple(rules)


# The lecture's recommendations ----------------------------------------------------------------

AMOUNTS = ("little data", "a lot of data")
SIMILARITIES = ("similar", "different")
EARLY = "early"

LABELS = {
    "linear": "linear classifier on top",
    EARLY: "linear classifier on an earlier stage",
    "top": "fine-tune the last stages",
    "all": "fine-tune all stages",
    "layerwise": "fine-tune all, rates by stage",
    "gradual": "fine-tune all, stage after stage",
    "scratch": "from scratch",
}

LECTURE = {
    (AMOUNTS[0], SIMILARITIES[0]): "linear",
    (AMOUNTS[1], SIMILARITIES[0]): "top",
    (AMOUNTS[0], SIMILARITIES[1]): EARLY,
    (AMOUNTS[1], SIMILARITIES[1]): "all",
}
"""Stanford's CS231n: "use a linear classifier on the top layer", "finetune a few layers", "you're
in trouble… try a linear classifier from different stages", "finetune a larger number of layers"."""
