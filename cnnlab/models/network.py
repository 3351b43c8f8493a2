"""A network as an ordered row of named stages: ``stem``, ``stage1`` … ``stageN``, ``head``.

The row is what the rest of the house speaks of: freeze up to a stage, read features at a stage, run
the front once and train only the rest. Parameters carry the same names:
``params["stage3"]["block0"]["conv1"]["kernel"]``.
"""

import contextlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax

from cnnlab.models.convolution import TooSmallError
from cnnlab.spelling import unknown


class Network(nn.Module):
    """Stages run one after the other.

    Attributes:
      stages: ``(name, module)`` in order; each module is called as ``module(x, train=...)``. What
        passes between them is an array or, where later stages need more (a U-Net's skips), a tuple
        whose first entry it is.
    """

    stages: tuple[tuple[str, nn.Module], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the stages, in order."""
        return tuple(name for name, _ in self.stages)

    def after(self, name: str) -> str:
        """The stage behind ``name``: where to go on with what ``stop=name`` returned.

        Raises:
          ValueError: if there is no such stage, or none behind it.
        """
        index = self._index(name)
        if index + 1 == len(self.stages):
            raise ValueError(f"{name!r} is the last stage of {list(self.names)}.")
        return self.names[index + 1]

    @nn.nowrap
    def front(self, up_to: str) -> "Network":
        """The row up to and with the stage ``up_to``, a network of its own.

        Its variables are those of its stages: ``{name: params[name] for name in front.names …}``.

        Raises:
          ValueError: if there is no such stage.
        """
        return Network(self.stages[: self._index(up_to) + 1])

    @nn.nowrap
    def rest(self, after: str) -> "Network":
        """The row behind the stage ``after``, a network that takes what that stage gives.

        Raises:
          ValueError: if there is no such stage, or none behind it.
        """
        return Network(self.stages[self._index(self.after(after)) :])

    @nn.compact
    def __call__(
        self,
        x: Any,
        *,
        train: bool = False,
        start: str | None = None,
        stop: str | None = None,
        frozen: Sequence[str] = (),
    ) -> Any:
        """Runs the stages from ``start`` to ``stop``, both included.

        Args:
          x: float images ``[N, H, W, C]``, or where ``start`` is given the output of the stage
            before it.
          train: whether normalisation uses the statistics of this batch (and dropout drops).
          start: the first stage to run; the first of the row by default.
          stop: the last stage to run; the last of the row by default.
          frozen: stages, or modules in them ("stage2/block0"), that run as in evaluation, whatever
            ``train`` says: their normalisation uses and keeps its running statistics, and nothing
            is dropped. Which parameters have gradients is the training's affair: ``rates``.

        Returns:
          What the last stage gives: float32 logits ``[N, K]`` for the whole row of a classifier.

        Raises:
          ValueError: for an unknown stage, or a ``stop`` before ``start``.
          TooSmallError: if a stage shrinks the images to nothing.
        """
        for name in frozen:
            self._index(name.partition("/")[0])
        modules = frozenset(name for name in frozen if "/" in name)
        first = 0 if start is None else self._index(start)
        last = len(self.stages) - 1 if stop is None else self._index(stop)
        if last < first:
            raise ValueError(f"stop={stop!r} lies before start={start!r} in {list(self.names)}.")
        for name, stage in self.stages[first : last + 1]:
            shape = activations(x).shape[1:]
            try:
                with _in_evaluation((*self.path, name), modules):
                    x = stage.copy(name=name)(x, train=train and name not in frozen)
            except TooSmallError as error:
                size = " x ".join(map(str, shape))
                raise TooSmallError(
                    f"the images are too small: stage {name!r} shrinks what it gets, {size}, to "
                    f"nothing (at {error}). Give larger images, or choose a form of the network "
                    "for small ones."
                ) from None
        return x

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(unknown("stage", name, self.names))
        return self.names.index(name)


def _in_evaluation(stage: tuple[str, ...], modules: frozenset[str]) -> Any:
    """A context in which these modules are called with ``train=False``."""
    depth = len(stage) - 1
    if not any(name.startswith(f"{stage[-1]}/") for name in modules):
        return contextlib.nullcontext()

    def still(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name == "__call__" and "/".join(module.path[depth:]) in modules:
            given = inspect.signature(call).bind(*args, **kwargs)
            if "train" in given.signature.parameters:
                given.arguments["train"] = False
            elif module.variables.get("batch_stats"):
                raise ValueError(
                    f"{'/'.join(module.path)} is frozen and keeps batch statistics, so it must "
                    "take train=, by which it is told not to update them. Give its __call__ that "
                    "argument, or freeze modules round it that have it."
                )
            args, kwargs = given.args, given.kwargs
        return call(*args, **kwargs)

    return nn.intercept_methods(still)


def activations(x: Any) -> jax.Array:
    """The activations in what passes between two stages: the array itself, or a tuple's first."""
    return x[0] if isinstance(x, tuple) else x
