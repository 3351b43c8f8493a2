"""A network as an ordered row of named stages: ``stem``, ``stage1`` … ``stageN``, ``head``.

Everything else refers to stages by name: freeze up to a stage, read features at a stage, run the
front once and train only the tail. Parameters carry the same names:
``params["stage3"]["block0"]["conv1"]["kernel"]``.
"""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import flax.linen as nn
import jax
from flax import errors
from flax.core import FrozenDict

from cnnlab.models.convolution import TooSmallError
from cnnlab.models.part import Part, names_within
from cnnlab.models.stage_calls import mode_arguments
from cnnlab.spelling import one_line, unknown

Module = TypeVar("Module", bound=nn.Module)

WHOLE = "network"
"""The one stage of a network that ``as_network`` makes of another module."""


class Network(nn.Module):
    """Stages run one after the other.

    A network with other outputs, such as those for several views of an image, is a class derived
    from this one. It may have further fields and, under ``nn.nowrap``, has an ``apply(variables,
    *images, **options)`` that calls ``Network(self.stages).apply``. Equal ones share programs.

    Attributes:
      stages: ``(name, module)`` in order; each module is called as ``module(x, train=...)``, or
        as ``mode_arguments`` says. Its output is an array or, where later stages need more (a
        U-Net's skips), a tuple that begins with it. A stage is a ``Part`` where modules in it can
        be frozen one by one.
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
            advice = one_stage_advice(self.names)
            raise ValueError(f"{name!r} is the last stage of {list(self.names)}.{advice}")
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
          ValueError: for an unknown stage, a ``stop`` before ``start``, a frozen module whose
            stage does not take ``frozen``, or a stage that does in evaluation what belongs to
            training.
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
            learns = train and name not in frozen
            try:
                x = self._bind(stage, name, inside)(x, **mode_arguments(stage, learns))
            except (errors.InvalidRngError, errors.ModifyScopeVariableError) as error:
                raise ValueError(_unruly(stage, name, learns, error)) from error
            except TooSmallError as error:
                size = " x ".join(map(str, shape))
                raise TooSmallError(
                    f"the images are too small: stage {name!r} shrinks its input, {size}, to "
                    f"nothing (at {error}). Give larger images, or choose a form of the network "
                    "for small ones."
                ) from None
            if self.is_initializing():
                self._check_statistics(stage, name)
        return x

    def _check_statistics(self, stage: nn.Module, name: str) -> None:
        """Refuses batch statistics in a stage that cannot tell training from evaluation."""
        if name in self.variables.get("batch_stats", {}) and not mode_arguments(stage, True):
            raise ValueError(
                f"{type(stage).__name__} has batch statistics, but its __call__ takes no train, so "
                f"that it cannot tell training from evaluation: {_TAKE_TRAIN}."
            )

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


def as_network(module: object) -> Network:
    """Any Linen module as a network of one stage, called "network"; a ``Network`` as it is.

    Its parameters are ``params["network"]``, those of the module. It trains, is evaluated, saved
    and exported like a network of several stages; what refers to stages (freezing up to one,
    features of one, a new head) needs some, which ``Network((("stem", …), ("head", …)))`` has.

    Args:
      module: called as ``module(images)``, with ``train=`` (or what ``mode_arguments`` knows) where
        it takes that. Lists and dictionaries in its fields become tuples and FrozenDicts, as Flax
        makes them.

    Raises:
      ValueError: if it is no Linen module, is called otherwise, or has fields without a hash, such
        as arrays.
    """
    if isinstance(module, Network):
        return _hashable(module)
    if not isinstance(module, nn.Module):
        what = module.__name__ if isinstance(module, type) else repr(module)
        kind = f"the class {what}: make one, {what}()" if isinstance(module, type) else what
        raise ValueError(
            "the network must be a Flax Linen module (flax.linen.Module), such as "
            f"models.create(name) gives, got {one_line(kind, 200)}."
        )
    signature = inspect.signature(module.__call__)
    try:
        signature.bind(None, **mode_arguments(module, True))
    except TypeError as error:
        raise ValueError(
            f"{type(module).__name__} must be callable as module(images) or module(images, "
            f"train=...), but its __call__ takes {signature}: {error}."
        ) from error
    return Network(((WHOLE, _hashable(module)),))


def one_stage_advice(names: Sequence[str]) -> str:
    """What to do where stages are asked of the network that ``as_network`` made; "" of another."""
    if tuple(names) != (WHOLE,):
        return ""
    return (
        " A plain module is one stage: name its parameters by patterns, such as "
        '"network/Dense_0/.*", or make its parts stages, Network((("stem", …), ("head", …))).'
    )


def _hashable(module: Module) -> Module:
    """The module with tuples and FrozenDicts in the place of lists and dictionaries."""
    try:
        hash(module)
        return module
    except TypeError:
        frozen: Module = _frozen(module)
    try:
        hash(frozen)
    except TypeError as error:
        raise ValueError(
            f"the fields of {type(module).__name__} must have a hash, by which compiled programs "
            "are found again: put tuples and functions there, and arrays where they are used."
        ) from error
    return frozen


def _frozen(value: Any) -> Any:
    if isinstance(value, nn.Module):
        names = (name for name in type(value).__dataclass_fields__ if name not in _OF_FLAX)
        return value.clone(**{name: _frozen(getattr(value, name)) for name in names})
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return FrozenDict({key: _frozen(each) for key, each in value.items()})
    return value


_OF_FLAX = ("parent", "name")

_TAKE_TRAIN = (
    "write __call__(self, x, train=False) and give BatchNorm use_running_average=not train and "
    "Dropout deterministic=not train"
)


def _unruly(stage: nn.Module, name: str, train: bool, error: Exception) -> str:
    """What is wrong with a stage that draws random numbers or changes variables where it cannot."""
    which = f"{type(stage).__name__} (stage {name!r})"
    if train:
        return (
            f"{which} needs in training what there is not; of random numbers there is the stream "
            f"'dropout' only: {one_line(str(error), 200)}"
        )
    does = "draws random numbers"
    if isinstance(error, errors.ModifyScopeVariableError):
        does = "changes its variables"
    return f"{which} {does} in evaluation, as BatchNorm and Dropout do in training: {_TAKE_TRAIN}."


def _subtree(tree: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The part of a tree of variables at "stage1/block0"; empty where there is none."""
    for key in path.split("/"):
        tree = tree.get(key, {})
    return tree


def activations(x: Any) -> jax.Array:
    """The activations in what passes between two stages: the array itself, or a tuple's first."""
    return x[0] if isinstance(x, tuple) else x
