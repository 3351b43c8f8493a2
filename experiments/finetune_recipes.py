"""The recipes of fine-tuning by name: which parameters learn, and how fast.

Source: Karpathy and Johnson, CS231n, Stanford, lecture "CNNs in practice", 2016; gradual unfreezing
by Howard and Ruder, ACL 2018.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cnnlab.models import Network
    from cnnlab.rates import Rates

RECIPES = {
    "linear": "a linear classifier on top: all stages but the head are frozen",
    "top": "the last stages are fine-tuned at a tenth of the head's rate, the others frozen",
    "all": "all stages are fine-tuned, those before the head at a tenth of its rate",
    "layerwise": "all stages, each at a rate of its own: 1 for the head, 1/10, then 1/100",
    "gradual": "the head alone first, then a stage more in each phase",
    "rules": "every parameter at the rate of the one rule that matches it",
    "scratch": "from fresh weights: nothing is transferred",
}

Cache = Literal["memory", "disk", "none"]


@dataclasses.dataclass(frozen=True)
class Details:
    """What the recipes leave open.

    Attributes:
      top: "top" trains so many stages, the head among them.
      body: the factor of the rate of "top" and "all" behind which the head learns.
      decay: "layerwise" takes this factor from stage to stage, in place of 1, 1/10 and 1/100.
      copies: with a frozen front, train on the front's outputs of so many augmented copies of each
        image, computed once; 0 for the images themselves, or for augmentation without a cache.
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

    def fresh(self, network: "Network") -> tuple[str, ...]:
        """What starts afresh in a network."""
        return self.reinitialise or network.names[-1:]


def parsed_rules(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The rules that texts such as "stage[12]/.*=0.1" say.

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


def rates_of(
    name: str, network: "Network", params: Any, details: Details = Details()
) -> "tuple[Rates | None, ...]":
    """What learns how fast, phase by phase; one phase but for "gradual".

    Args:
      name: of ``RECIPES``.
      network: the row of stages.
      params: of one network, or their shapes.
      details: what the recipe leaves open.

    Raises:
      ValueError: for an unknown recipe, stages that the network does not have, rules that do not
        match every parameter once, or if something that starts afresh would be frozen.
    """
    from cnnlab.spelling import unknown

    if name not in RECIPES:
        raise ValueError(unknown("recipe", name, RECIPES))
    if name == "scratch":
        return (None,)
    phases = _phases(name, network, params, details)
    for rates in phases:
        _check_fresh(name, rates, params, details.fresh(network))
    return phases


def _phases(name: str, network: "Network", params: Any, details: Details) -> "tuple[Rates, ...]":
    from cnnlab.rates import Rates
    from cnnlab.transfer import freezing, surgery

    head = {network.names[-1]: 1.0}
    if name == "rules":
        if not details.rules:
            raise ValueError(
                "the recipe rules needs a rate for every parameter, --rates PATTERN=FACTOR … such "
                'as "stem/.*=0" "stage[12]/.*=0.1" "head/.*=1", got none.'
            )
        return (Rates(details.rules),)
    if name == "linear":
        return (freezing.rates_by_stage(network, head, rest=0.0),)
    if name == "top":
        learning = dict.fromkeys(surgery.last_stages(network, details.top), details.body)
        return (freezing.rates_by_stage(network, learning | head, rest=0.0),)
    if name == "all":
        return (freezing.rates_by_stage(network, head, rest=details.body),)
    if name == "layerwise":
        if details.decay is None:
            return (freezing.lecture_rates(network),)
        return (freezing.layer_decay(network, details.decay),)
    phases = {str(rates.frozen(params)): rates for rates in freezing.gradual_unfreezing(network)}
    return tuple(phases.values())  # a stage without parameters adds no phase


def _check_fresh(name: str, rates: "Rates", params: Any, fresh: tuple[str, ...]) -> None:
    """Refuses to freeze what starts afresh, and rules that do not fit the parameters."""
    from flax.traverse_util import flatten_dict

    from cnnlab.spelling import some

    still = [path for path, frozen in flatten_dict(rates.frozen(params), sep="/").items() if frozen]
    found = [
        path
        for path in still
        if any(path.split("/")[0] == each or re.fullmatch(each, path) for each in fresh)
    ]
    if found:
        raise ValueError(
            f"what starts afresh must learn, but {name} freezes {some(found, 3)}, and "
            f"{', '.join(fresh)} shall start afresh: let it learn, or keep what was trained."
        )
