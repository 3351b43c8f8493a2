"""How a Linen module is told whether it trains: by the arguments that its ``__call__`` has for it.

Ours take ``train``; Flax's own layers and other people's modules have other names, or none.
"""

import inspect
from typing import Any

import flax.linen as nn

_TRAINS = ("train", "training", "is_training")
_EVALUATES = ("deterministic", "use_running_average")


def mode_arguments(module: nn.Module, train: bool) -> dict[str, Any]:
    """The arguments that tell ``module`` whether it trains; empty for one that takes none.

    ``train``, ``training`` and ``is_training`` are what ``train`` is, ``deterministic`` and
    ``use_running_average`` the opposite. One that is a field of the module and set there is left
    alone.
    """
    return {
        name: train if name in _TRAINS else not train
        for name in _mode_names(type(module))
        if getattr(module, name, None) is None
    }


def _mode_names(kind: type[nn.Module]) -> tuple[str, ...]:
    if issubclass(kind, nn.Sequential):  # passes on to its first layer what it gets
        return ()
    parameters = inspect.signature(kind.__call__).parameters
    found = tuple(name for name in (*_TRAINS, *_EVALUATES) if name in parameters)
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return found or (("train",) if anything else ())
