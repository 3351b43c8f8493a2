"""The recipes of fine-tuning as rates: which parameters learn, and how fast."""

import re
from typing import Any

from flax.traverse_util import flatten_dict

from cnnlab.models import Network
from cnnlab.rates import Rates
from cnnlab.spelling import some, unknown
from cnnlab.studies.recipe_settings import RECIPES, Details
from cnnlab.transfer import freezing, surgery


def recipe_rates(
    name: str,
    network: Network,
    params: Any,
    details: Details = Details(),  # noqa: B008 a frozen value
) -> tuple[Rates | None, ...]:
    """The rates of every parameter, phase by phase; one phase but for "gradual".

    Args:
      name: of ``RECIPES``.
      network: the row of stages.
      params: of one network, or their shapes.
      details: the choices that the recipe leaves open.

    Raises:
      ValueError: for an unknown recipe, stages that the network does not have, rules that do not
        match every parameter once, or if something that starts afresh would be frozen.
    """
    if name not in RECIPES:
        raise ValueError(unknown("recipe", name, RECIPES))
    if name == "scratch":
        return (None,)
    phases = _phases(name, network, params, details)
    for rates in phases:
        _check_fresh(name, rates, params, details.fresh(network.names))
    return phases


def _phases(name: str, network: Network, params: Any, details: Details) -> tuple[Rates, ...]:
    head = {network.names[-1]: 1.0}
    if name == "rules":
        if not details.rules:
            raise ValueError(
                "the recipe rules needs a rate for every parameter, --rules PATTERN=FACTOR … such "
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
    assert name == "gradual"
    phases = {str(rates.frozen(params)): rates for rates in freezing.gradual_unfreezing(network)}
    return tuple(phases.values())  # a stage without parameters adds no phase


def _check_fresh(name: str, rates: Rates, params: Any, fresh: tuple[str, ...]) -> None:
    """Refuses to freeze what starts afresh, and rules that do not fit the parameters."""
    flat = flatten_dict(rates.frozen(params), sep="/")
    still = [path for path, is_frozen in flat.items() if is_frozen]
    frozen = [
        path
        for path in still
        if any(path.split("/")[0] == each or re.fullmatch(each, path) for each in fresh)
    ]
    if frozen:
        raise ValueError(
            f"what starts afresh must learn, but {name} freezes {some(frozen, 3)}, and "
            f"{', '.join(fresh)} shall start afresh: let it learn, or keep what was trained."
        )
