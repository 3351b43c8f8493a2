"""A result.json in words, for experiments that say no more of theirs."""

from collections.abc import Iterator, Mapping
from typing import Any

from cnnlab.report.statistics import percent

_NOT_SHOWN = ("claims", "config", "environment")


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """A line for each figure over seeds that the result holds, under its keys.

    Args:
      result: of which values as ``report.statistics.over_seeds`` gives them are shown in per cent.
    """
    shown = {key: value for key, value in result.items() if key not in _NOT_SHOWN}
    return [f"{', '.join(keys)}: {percent(figure)}" for keys, figure in _figures(shown, ())]


def _figures(
    values: Mapping[str, Any], keys: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for key, value in values.items():
        if isinstance(value, list):
            for item in value:
                if isinstance(item, Mapping):
                    yield from _figures(item, (*keys, key, *_labels(item)))
        elif isinstance(value, Mapping):
            if {"mean", "standard_error", "values"} <= value.keys():
                yield (*keys, key), dict(value)
            else:
                yield from _figures(value, (*keys, key))


def _labels(item: Mapping[str, Any]) -> Iterator[str]:
    """Which item of a list it is: its texts and whole numbers."""
    return (str(value) for value in item.values() if isinstance(value, str | int))
