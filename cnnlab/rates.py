"""The learning rate of each parameter, by rules on its name.

    rates = Rates((("(stem|stage1)/.*", 0.0), ("stage2/.*", 0.1), ("head/.*", 1.0)))
    recipe = dataclasses.replace(recipe, rates=rates)
    print(rates.table(params, learning_rate=0.01))

A frozen parameter has no gradient, no optimizer state and no decay: the training step
differentiates with respect to the others alone, and the optimizer updates only those. A module all
of whose parameters are frozen runs as in evaluation. ``transfer.freezing`` makes such rules from
the stages of a network.

Source: the list of patterns that must match every parameter is big_vision's (Beyer et al., 2022).
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from cnnlab.spelling import check_several, some


@dataclasses.dataclass(frozen=True)
class Rates:
    """A factor of the learning rate for every parameter; 0 freezes it.

    The optimizer's update is multiplied by the factor, which for every optimizer of ``optim`` is
    the same as multiplying the learning rate by it.

    Attributes:
      rules: ``(pattern, factor)``: a regular expression that a parameter's whole path matches, such
        as "stage1/block0/conv1/kernel" or "stage[12]/.*", and a number >= 0. Every parameter must
        be matched by exactly one of them.
      optional: the patterns that may match no parameter, such as those of stages that may have
        none.

    Raises:
      ValueError: without rules, for an invalid pattern or factor, or one string for ``optional``.
    """

    rules: tuple[tuple[str, float], ...]
    optional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_several("optional", self.optional)
        if not self.rules:
            raise ValueError('rates need at least one rule, such as (("head/.*", 1.0),), got none.')
        for pattern, factor in self.rules:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"a rule's pattern must be a regular expression, got {pattern!r}: {error}."
                ) from error
            if not 0 <= factor < math.inf:
                raise ValueError(
                    f"a rule's factor must be >= 0 and finite, 0 to freeze, got {factor} for "
                    f"{pattern!r}."
                )

    def factors(self, params: Any) -> Any:
        """The factor of every parameter, a tree like ``params``.

        Raises:
          ValueError: if a parameter is matched by no rule or by several, a rule matches no
            parameter, or all parameters are frozen.
        """
        return unflatten_dict(self._flat(params), sep="/")

    def frozen(self, params: Any) -> Any:
        """True for every parameter that is frozen, a tree like ``params``."""
        return jax.tree.map(lambda factor: factor == 0, self.factors(params))

    def trainable(self, params: Any) -> dict[str, Any]:
        """The part of ``params`` that learns; modules without any are left out."""
        factors, flat = self._flat(params), flatten_dict(params, sep="/")
        return unflatten_dict({path: flat[path] for path in flat if factors[path]}, sep="/")

    def merged(self, params: Any, trainable: Any) -> Any:
        """``params`` with the trainable part replaced by ``trainable``."""
        return _merge(params, trainable)

    def scaled(self, updates: Any, params: Any) -> Any:
        """Updates of the trainable part, each times its factor."""
        factors = self._flat(params)
        flat = flatten_dict(updates, sep="/")
        return unflatten_dict(
            {path: u if factors[path] == 1 else factors[path] * u for path, u in flat.items()},
            sep="/",
        )

    def frozen_modules(self, params: Any) -> tuple[str, ...]:
        """The outermost modules that are wholly frozen, such as "stage1" and "stage2/block0"."""
        factors = self._flat(params)
        paths = {path: path.split("/") for path in factors}
        modules = {"/".join(p[:depth]) for p in paths.values() for depth in range(1, len(p))}
        learning = {
            "/".join(p[:depth])
            for path, p in paths.items()
            if factors[path]
            for depth in range(1, len(p))
        }
        still = modules - learning
        return tuple(sorted(m for m in still if m.rpartition("/")[0] not in still))

    def table(self, params: Any, learning_rate: float | None = None) -> str:
        """The rules as lines of text, with the numbers of arrays and parameters and the rate.

        Args:
          params: of one network, values or shapes.
          learning_rate: the highest one; without it the factors are shown.
        """
        self._flat(params)
        flat = flatten_dict(params, sep="/")
        rows = [("parameters", "arrays", "numbers", "factor" if learning_rate is None else "rate")]
        for pattern, factor in self.rules:
            own = [math.prod(leaf.shape) for path, leaf in flat.items() if _matches(pattern, path)]
            rate = factor if learning_rate is None else factor * learning_rate
            shown = "frozen" if factor == 0 else f"{rate:.4g}"
            rows.append((pattern, str(len(own)), f"{sum(own):,}", shown))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            f"{row[0]:<{widths[0]}}  "
            + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
            for row in rows
        )

    def _flat(self, params: Any) -> dict[str, float]:
        """Path -> factor."""
        paths = list(flatten_dict(params, sep="/"))
        by_rule = [[path for path in paths if _matches(p, path)] for p, _ in self.rules]
        matches = collections.Counter(path for own in by_rule for path in own)
        missed = [path for path in paths if not matches[path]]
        twice = [path for path in paths if matches[path] > 1]
        empty = [
            pattern
            for (pattern, _), own in zip(self.rules, by_rule, strict=True)
            if not own and pattern not in self.optional
        ]
        if missed:
            raise ValueError(
                f"every parameter must be matched by exactly one rule, but none matches "
                f"{_quote(missed)}. Add a rule for them; the rules are {_quote(self._patterns)}."
            )
        if twice:
            raise ValueError(
                f"every parameter must be matched by exactly one rule, but several match "
                f"{_quote(twice)}. Narrow one of {_quote(self._patterns)}."
            )
        factors = {
            path: factor
            for (_, factor), own in zip(self.rules, by_rule, strict=True)
            for path in own
        }
        if not any(factors.values()):
            raise ValueError(
                f"something must learn, but {_quote(p for p, factor in self.rules if not factor)} "
                "freeze every parameter. Leave at least the head free."
            )
        if empty:
            raise ValueError(
                f"every rule must match a parameter, but {_quote(empty)} matches none. The "
                f"parameters are {_quote(paths)}."
            )
        return factors

    @property
    def _patterns(self) -> list[str]:
        return [pattern for pattern, _ in self.rules]


def _matches(pattern: str, path: str) -> bool:
    return re.fullmatch(pattern, path) is not None


def _merge(params: Any, part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {
        name: _merge(value, part[name]) if name in part else value for name, value in params.items()
    }


def _quote(names: Iterable[str]) -> str:
    return some(map(repr, names))
