"""A network as an ordered row of named stages: ``stem``, ``stage1`` … ``stageN``, ``head``.

Everything else refers to stages by name: freeze up to a stage, read features at a stage, run the
front once and train only the tail. Parameters carry the same names:
``params["stage3"]["block0"]["conv1"]["kernel"]``.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from cnnlab.models.convolution import TooSmallError
from cnnlab.models.part import Part, names_within
from cnnlab.spelling import unknown


class Network(nn.Module):
    """Stages run one after the other.

    A network with other outputs, such as those for several views of an image, is a class derived
    from this one. It may have further fields and, under ``nn.nowrap``, has an ``apply(variables,
    *images, **options)`` that calls ``Network(self.stages).apply``. Equal ones share programs.

    Attributes:
      stages: ``(name, module)`` in order; each module is called as ``module(x, train=...)``. Its
        output is an array or, where later stages need more (a U-Net's skips), a tuple that begins
        with it. A stage is a ``Part`` where modules in it can be frozen one by one.
    """

    stages: tuple[tuple[str, nn.Module], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the stages, in order."""
        return tuple(name for name, _ in self.stages)

    def after(self, name: str) -> str:
        """The stage after ``name``: where to go on with the output of ``stop=name``.

        Raises:
          ValueError: if there is no such stage, or none after it.
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
    def tail(self, after: str) -> "Network":
        """The row from the stage after ``after`` on, a network that takes its output.

        Raises:
          ValueError: if there is no such stage, or none after it.
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
            ``train`` is: their normalisation uses and keeps its running statistics, and nothing
            is dropped. Which parameters have gradients: ``cnnlab.rates``.

        Returns:
          The output of the last stage: float32 logits ``[N, K]`` for the whole row of a classifier.

        Raises:
          ValueError: for an unknown stage, a ``stop`` before ``start``, or a frozen module whose
            stage does not take ``frozen``.
          TooSmallError: if a stage shrinks the images to nothing.
        """
        for name in frozen:
            self._index(name.partition("/")[0])
        first = 0 if start is None else self._index(start)
        last = len(self.stages) - 1 if stop is None else self._index(stop)
        if last < first:
            raise ValueError(f"stop={stop!r} lies before start={start!r} in {list(self.names)}.")
        for name, stage in self.stages[first : last + 1]:
            shape = activations(x).shape[1:]
            inside = names_within(tuple(frozen), name) if train else ()
            try:
                x = self._bind(stage, name, inside)(x, train=train and name not in frozen)
            except TooSmallError as error:
                size = " x ".join(map(str, shape))
                raise TooSmallError(
                    f"the images are too small: stage {name!r} shrinks its input, {size}, to "
                    f"nothing (at {error}). Give larger images, or choose a form of the network "
                    "for small ones."
                ) from None
        return x

    def _bind(self, stage: nn.Module, name: str, frozen: tuple[str, ...]) -> Any:
        """The stage under its name, with the frozen modules in it.

        Raises:
          ValueError: if it takes none, and one of them might do something else in training.
        """
        if isinstance(stage, Network):
            return functools.partial(stage.copy(name=name), frozen=frozen)
        if isinstance(stage, Part):
            return stage.copy(name=name, frozen=frozen)
        for path in frozen:
            params, statistics = (
                _subtree(self.variables.get(kind, {}), f"{name}/{path}")
                for kind in ("params", "batch_stats")
            )
            is_layer = params and not any(isinstance(value, Mapping) for value in params.values())
            if statistics or not is_layer:
                why = "keeps batch statistics" if statistics else "may drop units"
                raise ValueError(
                    f"{name}/{path} is frozen and {why}, so its stage must know of it: derive "
                    f"{type(stage).__name__} from cnnlab.models.Part, which has a field frozen, or "
                    "freeze whole stages."
                )
        return stage.copy(name=name)

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(unknown("stage", name, self.names))
        return self.names.index(name)


def _subtree(tree: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The part of a tree of variables at "stage1/block0"; empty where there is none."""
    for key in path.split("/"):
        tree = tree.get(key, {})
    return tree


def activations(x: Any) -> jax.Array:
    """The activations in what passes between two stages: the array itself, or a tuple's first."""
    return x[0] if isinstance(x, tuple) else x
