"""Learning rates by stage: which stages are frozen, and how fast the others learn.

    recipe = dataclasses.replace(recipe, rates=freeze(network, up_to="stage2"))

All of these return ``rates.Rates``, in which every parameter is matched by exactly one rule.

Source: Yosinski et al., How transferable are features in deep neural networks?, NIPS 2014, for
freezing up to a stage; Howard & Ruder, Universal language model fine-tuning, ACL 2018, for rates
that fall by stage and for unfreezing one after the other; Clark et al., ELECTRA, ICLR 2020, and Bao
et al., BEiT, ICLR 2022, for layer decay under that name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnlab.models import Network, as_network
from cnnlab.models.network import one_stage_advice
from cnnlab.rates import Rates
from cnnlab.spelling import check_several, unknown


def freeze(
    network: Network,
    *,
    up_to: str | None = None,
    depth: int | None = None,
    patterns: Sequence[str] = (),
) -> Rates:
    """Freezes a part of a network; the other parameters learn at the full rate.

    Args:
      network: the row of stages.
      up_to: the last frozen stage; all stages before it are frozen, too.
      depth: or the number of frozen stages, from the first one.
      patterns: or regular expressions that match the whole paths of the parameters that are
        frozen, such as "stage[12]/.*" or ".*/norm[0-9]/.*".

    Raises:
      ValueError: unless exactly one of them is set, for an unknown stage, if all stages would be
        frozen, and for a string in place of a sequence of patterns. A pattern that matches no
        parameter is refused when the rates are applied to the parameters.
    """
    check_several("patterns", patterns)
    count = (up_to is not None) + (depth is not None) + bool(patterns)
    if count != 1:
        raise ValueError(f"give one of up_to, depth and patterns, got {count} of them.")
    if patterns:
        anything = "|".join(f"(?:{pattern})" for pattern in patterns)
        return Rates((*((pattern, 0.0) for pattern in patterns), (f"(?!(?:{anything})$).*", 1.0)))
    names = as_network(network).names
    if up_to is not None:
        _check_stages(names, [up_to])
        depth = names.index(up_to) + 1
    assert depth is not None
    if not 1 <= depth < len(names):
        raise ValueError(
            f"between 1 and {len(names) - 1} of the stages {', '.join(names)} can be frozen, so "
            f"that at least the last one learns, got {depth}.{one_stage_advice(names)}"
        )
    return Rates(((_stages(names[:depth]), 0.0), (_stages(names[depth:]), 1.0)))


def rates_by_stage(network: Network, factors: Mapping[str, float], *, rest: float = 1.0) -> Rates:
    """A factor of the rate for each stage; 0 freezes.

    Args:
      network: the row of stages.
      factors: stage -> factor.
      rest: the factor of the stages that are not named.

    Raises:
      ValueError: for an unknown stage, or factors that are no mapping. Named stages without
        parameters are refused when the rates are applied to the parameters.
    """
    if not isinstance(factors, Mapping):
        raise ValueError(
            f'factors must be a mapping from stage to factor, such as {{"head": 1.0}}, got '
            f"{factors!r}."
        )
    stages = as_network(network).names
    _check_stages(stages, factors)
    groups: dict[float, list[str]] = {}
    for name in stages:
        groups.setdefault(float(factors.get(name, rest)), []).append(name)
    rules = {_stages(names): factor for factor, names in groups.items()}
    unnamed = [_stages(names) for names in groups.values() if not set(names) <= set(factors)]
    return Rates(tuple(rules.items()), optional=tuple(unnamed))


def lecture_rates(network: Network, params: Any = None) -> Rates:
    """The rule of thumb of Stanford's CS231n: a tenth for the top, a hundredth in the middle.

    The new last stage learns at the full rate, the one before it at 1/10 and all others at 1/100.

    Args:
      network: the row of stages.
      params: its parameters or their shapes, to skip stages without any; None skips none.
    """
    stages = as_network(network).names
    names = [name for name in stages if params is None or params.get(name)]
    factors = dict.fromkeys(names[-2:-1], 0.1) | {names[-1]: 1.0}
    return _optional(rates_by_stage(network, factors, rest=0.01))


def layer_decay(network: Network, decay: float = 0.5) -> Rates:
    """Every stage learns ``decay`` times as fast as the next one.

    Args:
      network: the row of stages.
      decay: in (0, 1]; 1 / 2.6 in ULMFiT, 0.65 to 0.9 a layer in transformers.

    Raises:
      ValueError: for a decay out of range.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"the decay must be in (0, 1], got {decay}.")
    names = as_network(network).names
    factors = {name: decay ** (len(names) - 1 - i) for i, name in enumerate(names)}
    return _optional(rates_by_stage(network, factors))


def gradual_unfreezing(network: Network) -> tuple[Rates, ...]:
    """The rates of gradual unfreezing: the head alone, then one stage more in each phase.

    Train the phases one after the other: ``train.restarted(recipe, params, model_state)`` with the
    next rates returns the initial states of the next phase. The phase that unfreezes a stage
    without parameters equals the one before it.
    """
    names = as_network(network).names
    return tuple(
        _optional(rates_by_stage(network, dict.fromkeys(names[:frozen], 0.0)))
        for frozen in range(len(names) - 1, -1, -1)
    )


def _optional(rates: Rates) -> Rates:
    """The same rates, allowed to match no parameters: the stages were not named by the caller."""
    return Rates(rates.rules, optional=tuple(pattern for pattern, _ in rates.rules))


def _stages(names: Iterable[str]) -> str:
    """A pattern of all parameters in these stages."""
    each = [re.escape(name) for name in names]
    return f"{each[0]}/.*" if len(each) == 1 else f"({'|'.join(each)})/.*"


def _check_stages(stages: Sequence[str], names: Iterable[str]) -> None:
    for name in names:
        if name not in stages:
            raise ValueError(unknown("stage", name, stages) + one_stage_advice(stages))
