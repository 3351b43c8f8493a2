"""Surgery: copies a trained network's weights into another with a head, or more, of its own.

    variables, report = copy_variables(trained, fresh, reinitialise=("head",))
    print(report)  # copied 36 of 38; fresh: head/conv/bias, head/conv/kernel
    states, report = transplant(trained, recipe, splits.train, seeds=(0, 1, 2))

Everything is copied by name. Arrays that one side lacks, or has in another shape, are listed in an
error unless they are named to start afresh: nothing is left out silently.

Source: Yosinski et al., How transferable are features in deep neural networks?, NeurIPS 2014.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh

from cnnlab.data.dataset import Dataset
from cnnlab.mesh import MEMBER, fetch, make_mesh, place, sharding
from cnnlab.models import Network
from cnnlab.models.network import one_stage_advice
from cnnlab.spelling import check_several, some, unknown
from cnnlab.train.program import initialise
from cnnlab.train.state import Recipe, TrainState, restarted

Channels = Literal["sum", "adapt"]

Path = tuple[str, ...]
"""For example ``("params", "stage1", "block0", "conv1", "kernel")``."""


class SurgeryError(ValueError):
    """The weights of one network do not fit into another as they were asked to."""


@dataclasses.dataclass(frozen=True)
class Report:
    """The arrays that were copied and those that were not.

    Attributes:
      copied: arrays with the source's values, such as "stage1/block0/conv1/kernel".
      fresh: arrays that keep their fresh values.
      left: arrays of the source that the network lacks; all were named to start afresh.
      adapted: the first kernel, where its input channels were changed, and how.
    """

    copied: tuple[str, ...]
    fresh: tuple[str, ...]
    left: tuple[str, ...] = ()
    adapted: str | None = None

    def __str__(self) -> str:
        lines = [f"copied {len(self.copied)} of {len(self.copied) + len(self.fresh)} arrays"]
        for kind, names in (("fresh", self.fresh), ("not used of the source", self.left)):
            if names:
                lines.append(f"{kind}: {some(names)}")
        if self.adapted is not None:
            lines.append(f"adapted: {self.adapted}")
        return "\n".join(lines)


def copy_variables(
    source: Mapping[str, Any],
    fresh: Mapping[str, Any],
    *,
    reinitialise: Sequence[str] = ("head",),
    channels: Channels | None = None,
    first: str | None = None,
) -> tuple[dict[str, Any], Report]:
    """The variables of a network, with those of another one copied in by name.

    Args:
      source: ``{"params": ..., "batch_stats": ...}`` of the trained network; shapes are
        enough to check that it fits.
      fresh: of the target network, newly initialised: its names, shapes and dtypes. With shapes
        (``jax.eval_shape``), arrays that are not copied stay shapes.
      reinitialise: arrays that keep the fresh values, and may differ or be missing on either side:
        a stage's name, or a regular expression that matches a whole path, "stage3/.*/kernel".
      channels: how to adapt the first convolution's kernel [h, w, C_in, C_out] where it differs in
        ``C_in`` alone. "sum": each new channel has the sum over the old ones, divided by the number
        of new ones; outputs for grey images stay the same. "adapt": the old channels in turn,
        scaled by old over new, so that activations keep their size. None: an error.
      first: the stage that sees the images, whose kernel ``channels`` applies to; by default
        "stem", or without one the first of ``fresh`` that is not the head.

    Returns:
      The variables, NumPy arrays in the dtypes of ``fresh`` where they were copied, and the report.

    Raises:
      SurgeryError: if anything else is missing on either side or has another shape (all is
        listed); if nothing would be copied; for a ``reinitialise`` that matches nothing.

    Example:
      >>> variables, report = copy_variables(trained, fresh, reinitialise=("head",))
    """
    theirs, ours = _flat(source), _flat(fresh)
    again = _matching(reinitialise, [*ours, *theirs])
    shapes = {
        path: (np.shape(theirs[path]), np.shape(leaf))
        for path, leaf in ours.items()
        if path in theirs and path not in again and np.shape(theirs[path]) != np.shape(leaf)
    }
    stage = _first_stage(ours) if first is None else first
    kernel = _first_kernel(shapes, stage) if channels is not None else None
    if kernel is not None:
        other = _with_channels(theirs[kernel], shapes.pop(kernel)[1][2], channels)
        theirs = {**theirs, kernel: other}
    shared = [path for path in ours if path in theirs and path not in again]
    problems = {
        "missing from the source": [p for p in ours if p not in theirs and p not in again],
        "only in the source": [p for p in theirs if p not in ours and p not in again],
    }
    advice = _advice(problems, shapes, stage if channels is None else None, reinitialise)
    _check(problems, shapes, len(shared), len(ours), advice)
    values = {
        path: _astype(theirs[path], leaf.dtype) if path in shared else leaf
        for path, leaf in ours.items()
    }
    adapted = None
    if kernel is not None:
        old, new = np.shape(_flat(source)[kernel])[2], np.shape(values[kernel])[2]
        adapted = f"{_name(kernel)} from {old} to {new} input channels ({channels})"
    report = Report(
        copied=_names(shared),
        fresh=_names(path for path in ours if path in again),
        left=_names(path for path in theirs if path not in ours),
        adapted=adapted,
    )
    return unflatten_dict(values), report


def transplant(
    source: Mapping[str, Any],
    recipe: Recipe,
    train: Dataset,
    seeds: Sequence[int],
    *,
    reinitialise: Sequence[str] = ("head",),
    channels: Channels | None = None,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Report]:
    """Initial states, fresh ones of each seed with the source's variables copied in.

    Copied arrays are the same in all members; fresh ones differ from seed to seed. Step 0, with a
    fresh optimizer state.

    Args:
      source: variables of one network, without a leading axis.
      recipe: how they will be trained; with ``rates``, the optimizer has trainable parameters only.
      train: the training part, for its shapes (and for an initialisation that looks at images).
      seeds: one for each member.
      reinitialise: as for ``copy_variables``.
      channels: as for ``copy_variables``.
      mesh: ``make_mesh(len(seeds))`` by default.

    Returns:
      States ``[M, ...]``, and the report.

    Raises:
      SurgeryError: as ``copy_variables`` does.
    """
    mesh = make_mesh(len(seeds)) if mesh is None else mesh
    members = sharding(mesh, MEMBER)
    states = initialise(recipe, train, place(np.asarray(seeds, np.uint32), members), mesh)[0]
    own = {"params": states.params, **states.model_state}
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), own)
    first = next((name for name in recipe.network.names if name in states.params), None)
    variables, report = copy_variables(
        source, shapes, reinitialise=reinitialise, channels=channels, first=first
    )
    copied = {
        path: None if leaf is None else np.broadcast_to(leaf, (len(seeds), *leaf.shape))
        for path, leaf in _leaves_to_copy(variables, report).items()
    }
    return _place_copies(recipe, own, copied, mesh), report


def transplant_each(
    sources: TrainState,
    recipe: Recipe,
    fresh: TrainState,
    stages: Sequence[str],
    *,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Report]:
    """Initial states, with stages of each member from a trained network of its own.

    Args:
      sources: trained states ``[M, ...]``; their moving averages where they have some.
      recipe: how the networks will be trained; with ``rates``, the optimizer has trainable
        parameters only.
      fresh: newly initialised states ``[M, ...]``, which keep their other stages.
      stages: the stages to copy, with their statistics.
      mesh: ``make_mesh(M)`` by default.

    Returns:
      States ``[M, ...]`` at step 0, and the report.

    Raises:
      SurgeryError: as ``copy_variables`` does.
      ValueError: for an unknown stage, a string in place of a sequence, or if there are not as many
        trained networks as fresh ones.
    """
    check_several("stages", stages)
    for stage in stages:
        if stage not in recipe.network.names:
            raise ValueError(unknown("stage", stage, recipe.network.names))
    count, wanted = len(sources.step), len(fresh.step)
    if count != wanted:
        raise ValueError(
            f"there must be a trained network for each fresh one, got {count} for {wanted}."
        )
    trained = sources.evaluated
    theirs = fetch({"params": trained.params, **trained.model_state})
    own = {"params": fresh.params, **fresh.model_state}
    # All leaves have the leading axis [M] on both sides, so each member gets its own.
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), own)
    others = {path[1]: None for tree in (own, theirs) for path in _flat(tree)}
    again = [name for name in others if name not in stages]
    variables, report = copy_variables(theirs, shapes, reinitialise=again)
    mesh = make_mesh(count) if mesh is None else mesh
    return _place_copies(recipe, own, _leaves_to_copy(variables, report), mesh), report


def last_stages(network: Network, k: int) -> tuple[str, ...]:
    """The names of the last ``k`` stages, the head among them, for ``reinitialise``.

    Raises:
      ValueError: if there are not that many, or none would be left.
    """
    if not 1 <= k < len(network.names):
        raise ValueError(
            f"k must be in 1 to {len(network.names) - 1}, so that some of the stages "
            f"{', '.join(network.names)} are left, got {k}."
        )
    return network.names[-k:]


# Helpers -------------------------------------------------------------------------------------


def _leaves_to_copy(variables: Mapping[str, Any], report: Report) -> dict[Path, Any]:
    """The copied variables by path; None for those that keep their fresh values."""
    new = set(report.fresh)
    return {p: None if _name(p) in new else leaf for p, leaf in _flat(variables).items()}


def _place_copies(
    recipe: Recipe, own: Mapping[str, Any], copied: Mapping[Path, Any], mesh: Mesh
) -> TrainState:
    """States ``[M, ...]`` of the copied leaves, placed on the mesh, and else of their own."""
    fresh, members = _flat(own), sharding(mesh, MEMBER)
    variables = unflatten_dict(
        {p: fresh[p] if leaf is None else place(leaf, members) for p, leaf in copied.items()}
    )
    return restarted(recipe, variables.pop("params"), variables)


def _flat(variables: Mapping[str, Any]) -> dict[Path, Any]:
    leaves: dict[Path, Any] = flatten_dict(dict(variables))
    if not leaves or not any(path[0] == "params" for path in leaves):
        raise SurgeryError(
            'variables must be {"params": ..., ...} of a network, got the keys '
            f"{', '.join(map(str, variables)) or 'none'}. Wrap parameters: {{'params': params}}."
        )
    return leaves


def _matching(patterns: Sequence[str], paths: Iterable[Path]) -> set[Path]:
    """The paths that the patterns match."""
    if isinstance(patterns, str):
        raise SurgeryError(f"reinitialise must be a sequence of patterns, got {patterns!r}.")
    paths = list(dict.fromkeys(paths))
    matched = set()
    for pattern in patterns:
        matches = _matcher(pattern)
        own = {p for p in paths if p[1] == pattern or matches(_name(p))}
        if not own:
            stages = dict.fromkeys(path[1] for path in paths)
            known = unknown("stage or pattern to reinitialise", pattern, stages)
            advice = one_stage_advice(tuple(stages))
            raise SurgeryError(
                f"{known} A pattern must match a whole path, such as stage1/.*{advice}"
            )
        matched |= own
    return matched


def _matcher(pattern: str) -> Callable[[str], Any]:
    try:
        return re.compile(pattern).fullmatch
    except re.error as error:
        raise SurgeryError(f"{pattern!r} is no regular expression: {error}.") from error


def _first_stage(paths: Iterable[Path]) -> str:
    """The stage that sees the images, by its name: the order of the paths may be alphabetical."""
    stages = list(dict.fromkeys(path[1] for path in paths if path[0] == "params"))
    return "stem" if "stem" in stages else next((s for s in stages if s != "head"), stages[0])


def _first_kernel(shapes: Mapping[Path, tuple[Path, Path]], stage: str) -> Path | None:
    """The kernel of the stage that differs in its input channels alone, if it is the only one."""

    def without_inputs(shape: Any) -> Any:
        return (*shape[:2], *shape[3:])

    kernels = [
        path
        for path, (old, new) in shapes.items()
        if path[1] == stage and path[-1] == "kernel"
        if len(old) == len(new) == 4 and without_inputs(old) == without_inputs(new)
    ]
    return kernels[0] if len(kernels) == 1 else None


def _astype(value: Any, dtype: Any) -> Any:
    if isinstance(value, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(value.shape, dtype)
    return np.asarray(value).astype(dtype)


def _with_channels(kernel: Any, count: int, how: Channels | None) -> np.ndarray:
    """The kernel [h, w, C_in, C_out] for ``count`` input channels."""
    if isinstance(kernel, jax.ShapeDtypeStruct):
        kernel = np.broadcast_to(np.zeros((), kernel.dtype), kernel.shape)
    kernel = np.asarray(kernel)
    old = kernel.shape[2]
    if how == "sum":
        return np.repeat(kernel.sum(axis=2, keepdims=True) / count, count, axis=2)
    if how == "adapt":
        return kernel[:, :, np.arange(count) % old] * (old / count)
    raise SurgeryError(unknown("way to change the input's channels", str(how), ("sum", "adapt")))


def _check(
    problems: Mapping[str, Sequence[Path]],
    shapes: Mapping[Path, tuple[Any, Any]],
    copied: int,
    total: int,
    advice: str,
) -> None:
    """Raises an error that lists all arrays that do not fit."""
    if shapes or any(problems.values()):
        lines = [
            f"the source is another network: {copied - len(shapes)} of {total} arrays are there "
            "with the same name and shape."
        ]
        for what, paths in problems.items():
            if paths:
                lines.append(f"  {what} ({len(paths)}): {some(_names(paths), 10)}")
        if shapes:
            changes = [f"{_name(path)} {old} -> {new}" for path, (old, new) in shapes.items()]
            lines.append(f"  other shapes, theirs -> ours ({len(changes)}): {some(changes, 10)}")
        raise SurgeryError("\n".join([*lines, advice]))
    if not copied:
        raise SurgeryError(
            "nothing would be copied: everything starts afresh. Reinitialise less, or train "
            "from scratch."
        )


def _advice(
    problems: Mapping[str, Sequence[Path]],
    shapes: Mapping[Path, Any],
    first: str | None,
    reinitialise: Sequence[str],
) -> str:
    """Advice for the error; ``first`` is the stage whose channels could still be adapted."""
    paths = [*shapes, *(path for each in problems.values() for path in each)]
    names = [f'"{name}"' for name in dict.fromkeys([*reinitialise, *(p[1] for p in paths)])]
    again = f"reinitialise=({', '.join(names)}{',' if len(names) == 1 else ''})"
    if all(path[1] == "head" for path in paths):
        return f"Only the head differs, it has other classes: {again}."
    if first is not None and len(paths) == 1 and _first_kernel(dict(shapes), first):
        return 'Only the input channels differ: channels="sum" or channels="adapt".'
    return (
        "Create the network of the source (model and options), or let the arrays that differ start "
        f"afresh: {again}."
    )


def _name(path: Path) -> str:
    """Without the collection: a rule for a layer's parameters is one for its statistics."""
    return "/".join(path[1:])


def _names(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted(_name(path) for path in paths))
