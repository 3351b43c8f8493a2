"""Loads the weights of a file into a network's variables, and reports which array went where."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from flax.core import unfreeze
from jax import numpy as jnp

from cnnlab.models.network import Network
from cnnlab.models.weights import files
from cnnlab.models.weights.mapping import Fit, fit, mappings
from cnnlab.spelling import some

PREPARATION = "preparation/"
"""Begins the names of arrays in our own files that belong to the normalization of images."""

Named = tuple[tuple[str, str], ...]
"""Names, each with a reason."""


class HeadError(ValueError):
    """A file's network is the same but for its head.

    Attributes:
      details: what differs, without what to do about it.
      outputs: how many numbers the head of the file gives, if that is what differs.
    """

    def __init__(self, details: str, outputs: int | None) -> None:
        advice = "Only the head differs: replace_head=True keeps the fresh one."
        super().__init__(f"{details}\n{advice}")
        self.details, self.outputs = details, outputs


@dataclasses.dataclass(frozen=True)
class Report:
    """The report of loading a file.

    Attributes:
      path: the file.
      mapping: the mapping that was used, one of ``mappings()``.
      loaded: how many leaves of the network's variables were taken from the file.
      total: how many there are.
      skipped: what was in the file and is not needed, with the reason.
      missing: leaves of the network that kept their values, with the reason; all in the head.
      unused: names in the file that the mapping has no place for; none unless the head was
        replaced. They are then of the head there: they lie beside the part of it that was found or,
        where none was, outside all modules that hold a part of the body.
      notes: further lines, such as what the file says of itself.
    """

    path: str
    mapping: str
    loaded: int
    total: int
    skipped: Named = ()
    missing: Named = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"loaded {self.loaded} of {self.total} from {self.path} (as {self.mapping})"]
        for what, named in (("skipped", self.skipped), ("not loaded", self.missing)):
            reasons = dict.fromkeys(reason for _, reason in named)
            for reason in reasons:
                lines.append(f"{what}: {some([n for n, r in named if r == reason], 3)}: {reason}")
        if self.unused:
            lines.append(f"not used: {some(self.unused, 3)}: there is no place for it")
        return "\n".join([*lines, *self.notes])


def load(
    path: str | Path,
    variables: Mapping[str, Any],
    *,
    mapping: str | None = None,
    replace_head: bool = False,
    unused: Sequence[str] = (),
) -> tuple[dict[str, Any], Report]:
    """The variables of a network with the values of a file.

    Args:
      path: the file, of a kind that ``read`` knows.
      variables: of the network: ``params`` and, where it has running statistics, ``batch_stats``.
        Shapes alone (``jax.eval_shape``) do where everything is found.
      mapping: whose names the file has, one of ``mappings()``; the one that matches most leaves
        where None.
      replace_head: whether a head that is missing from the file or has another shape keeps the
        values of ``variables``, as a whole. Without, that is an error. The body must fit in any
        case, and nothing of the body there may be left over.
      unused: stages, or patterns of whole paths such as "stage3/.*", whose values will be replaced:
        there the file may hold NaN or infinity.

    Returns:
      The variables, in the dtypes of ``variables``, and the report.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the file cannot be read, the mapping is unknown, or the file is that of another
        network: leaves are missing from it, left over, or of another shape. They are listed. It is
        a ``HeadError`` where they are all of the head. Or if an array that is taken holds NaN or
        infinity, in the dtype that it has here, or one of running variances negative numbers.

    Example:
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), images)
      >>> variables, report = weights.load("resnet20-12fca82f.th", variables)
      >>> print(report)
      loaded 97 of 97 from resnet20-12fca82f.th (as resnet)
    """
    contents = files.read_contents(path)
    ours = traverse_util.flatten_dict(unfreeze(dict(variables)), sep="/")
    tried = fit(contents.tensors, ours, mapping)
    problems = _Problems.of(contents.tensors, ours, tried)
    fresh = {name for name in ours if _in_head(name)} if replace_head and problems.head else set()
    if problems.remain(fresh):
        raise problems.error(path, tried, ours, fresh)

    values = {name: _value(path, name, leaf, tried, fresh) for name, leaf in ours.items()}
    needed = [name for name in ours if name not in fresh and not _matches(name, unused)]
    _check_numbers(path, {name: values[name] for name in needed}, tried)
    head = "the head here is another one, and keeps its values"
    skipped = [*contents.dropped.items(), *problems.unneeded]
    skipped += [(tried.placed[name][0], head) for name in tried.placed if name in fresh]
    report = Report(
        path=str(path),
        mapping=tried.name,
        loaded=len(ours) - len(fresh),
        total=len(ours),
        skipped=tuple(skipped),
        missing=tuple((name, problems.head.get(name, head)) for name in sorted(fresh)),
        unused=tuple(problems.unplaced),
    )
    return traverse_util.unflatten_dict(values, sep="/"), report


def input_channels(
    path: str | Path,
    network: Network,
    image_shape: tuple[int, int, int],
    *,
    mapping: str | None = None,
) -> int:
    """The channels of the images that a file's network was trained on.

    Args:
      path: the file, of a kind that ``read`` knows.
      network: that it is of, but for the channels.
      image_shape: ``(H, W, C)`` of images that the network can be shown.
      mapping: as of ``load``.

    Returns:
      The input channels of the file's first convolution; C where it has none.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the file cannot be read, or the mapping is unknown.
    """
    height, width, channels = image_shape
    ours, others = (_shapes(network, (height, width, count)) for count in (channels, channels + 1))
    tried = fit(files.read_contents(path).tensors, ours, mapping)
    for name, leaf in ours.items():  # the kernel that is another one for other channels
        if leaf.shape != others[name].shape and len(leaf.shape) == 4 and name in tried.placed:
            return int(tried.placed[name][1].shape[2])
    return channels


def _shapes(network: Network, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    return traverse_util.flatten_dict(unfreeze(variables), sep="/")


@dataclasses.dataclass(frozen=True)
class _Problems:
    """The differences of a file and a network: names here or there, with the reason."""

    missing: dict[str, str]  # here
    shapes: dict[str, str]  # here
    absent: list[str]  # there: their place is not in this network
    unplaced: list[str]  # there: the mapping knows no place
    body: list[str]  # there: those of the unplaced that can be no part of a head
    unneeded: list[tuple[str, str]]  # there: not a problem, with the reason
    beside: list[str]  # there: those of the unneeded without the prefix of the network's names

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray], ours: Mapping[str, Any], tried: Fit) -> _Problems:
        missing, shapes, absent, unneeded = {}, {}, [], []
        for name, leaf in ours.items():
            if name not in tried.placed:
                missing[name] = "not in the file"
                continue
            key, value = tried.placed[name]
            if value.shape != tuple(leaf.shape):
                shapes[name] = f"{key} {value.shape} -> {tuple(leaf.shape)}"
            elif not jnp.issubdtype(value.dtype, jnp.floating):
                shapes[name] = f"{key} {value.dtype} -> {leaf.dtype}"
        for name, (key, value) in tried.placed.items():
            if name not in ours:
                reason = _unneeded_reason(name, value)
                if reason:
                    unneeded.append((key, reason))
                else:
                    absent.append(key)
        used = {key for key, _ in tried.placed.values()}
        rest = [key for key in arrays if key not in used]
        reasons = {key: _reason_outside(key, arrays[key], tried) for key in rest}
        unneeded += [(key, reason) for key, reason in reasons.items() if reason]
        unplaced = [key for key, reason in reasons.items() if not reason]
        body = _outside_head(unplaced, tried)
        beside = [key for key, reason in reasons.items() if reason and key in tried.outside]
        return _Problems(missing, shapes, absent, unplaced, body, unneeded, beside)

    @property
    def head(self) -> dict[str, str]:
        """Those of the head."""
        return {k: v for k, v in (self.missing | self.shapes).items() if _in_head(k)}

    def left_over(self, fresh: Iterable[str]) -> list[str]:
        """Names there that nothing here takes when the leaves ``fresh`` need not be found."""
        return [*self.absent, *(self.body if fresh else self.unplaced)]

    def remain(self, fresh: Iterable[str]) -> bool:
        """True where anything is left when the leaves ``fresh`` need not be found."""
        here = set(self.missing) | set(self.shapes)
        return bool(here - set(fresh) or self.left_over(fresh))

    def error(self, path: Any, tried: Fit, ours: Mapping[str, Any], fresh: set[str]) -> ValueError:
        """The differences that remain; ``fresh`` is empty where the head is not to be replaced."""
        missing = [name for name in self.missing if name not in fresh]
        shapes = [reason for name, reason in self.shapes.items() if name not in fresh]
        there = self.left_over(fresh)
        lines = [
            f"{path} holds another network: read by the mapping {tried.name!r}, {tried.matched} of "
            f"{len(ours)} leaves of this one were found with the right shape."
        ]
        for what, names in (
            ("missing from the file", missing),
            ("unexpected in the file", there),
            ("other shapes, in our layout, theirs -> ours", shapes),
            (f"not used, since not under {tried.prefix!r}", self.beside if missing else []),
        ):
            if names:
                lines.append(f"  {what} ({len(names)}): {some(names, 10)}")
        if not self.remain(self.head):
            outputs = {tried.placed[name][1].shape[-1:] for name in self.shapes}
            outputs -= {ours[name].shape[-1:] for name in self.shapes}
            return HeadError("\n".join(lines), outputs.pop()[0] if len(outputs) == 1 else None)
        known = ", ".join(mappings())
        lines.append(f"Create the network that the file is of, or name a mapping: {known}.")
        return ValueError("\n".join(lines))


def _outside_head(unplaced: list[str], tried: Fit) -> list[str]:
    """Those of the unplaced names that are not of the source's head."""
    kin = tried.kinship
    body = {kin[key] for name, (key, _) in tried.placed.items() if not _in_head(name)}
    head = {kin[key] for name, (key, _) in tried.placed.items() if _in_head(name)}
    return [key for key in unplaced if kin[key] in body or (head and kin[key] not in head)]


def _unneeded_reason(name: str, value: np.ndarray) -> str | None:
    """The reason why a layer can do without this tensor, if it can."""
    if name.endswith("/scale") and np.all(value == 1):
        return "all ones, and the norm here has no scale"
    if name.endswith("/bias") and not np.any(value):
        return "all zeros, and the layer here has no bias"
    return None


def _reason_outside(key: str, value: np.ndarray, tried: Fit) -> str | None:
    """The reason why an array without a place is no part of the network, if it is none."""
    if key.startswith(PREPARATION):
        return "of the images, not of the network"
    last = re.split(r"[./]", tried.short[key])
    if last[-1] == "num_batches_tracked" or (value.dtype.kind in "iub" and value.ndim == 0):
        return "a counter that nothing here uses"
    if _BESIDE_NETWORK.fullmatch(last[0]) and len(last) > 1:
        return "of the loss, a metric or the normalization, not of the network"
    if key in tried.outside:
        return f"not under {tried.prefix!r}, where the network is"
    return None


_BESIDE_NETWORK = re.compile(
    r"(train_|training_|val_|valid_|validation_|test_)?"
    r"(criterion|loss|loss_fn|losses|metrics?|acc|accuracy|f1|auroc|normali[sz]e|normali[sz]er)"
)
"""Modules that training programs hang beside the layers of a network, with arrays of their own."""


def _in_head(name: str) -> bool:
    return name.split("/")[1:2] == ["head"]


def _matches(name: str, stages: Sequence[str]) -> bool:
    """True for a leaf of one of the stages, or whose path without its collection is matched."""
    path = name.partition("/")[2]
    return any(path.split("/")[0] == each or re.fullmatch(each, path) for each in stages)


def _check_numbers(path: Any, values: Mapping[str, jax.Array], tried: Fit) -> None:
    """Refuses values that no network can compute with: their outputs would not be numbers.

    Raises:
      ValueError: naming the arrays of the file that hold them.
    """
    infinite = [name for name, value in values.items() if not np.isfinite(np.asarray(value)).all()]
    if infinite:
        there = some([tried.placed[name][0] for name in infinite], 5)
        raise ValueError(
            f"{path} holds NaN or infinity in {len(infinite)} of {len(values)} arrays that are "
            f"needed: {there}. The training diverged or the file is damaged: take an earlier one."
        )
    variances = [name for name in values if re.fullmatch(r"batch_stats/.*/var", name)]
    negative = [name for name in variances if np.any(np.asarray(values[name]) < 0)]
    if negative:
        there = some([tried.placed[name][0] for name in negative], 5)
        raise ValueError(
            f"{path} holds negative variances in {len(negative)} of {len(variances)} arrays of "
            f"running variances: {there}. The file is damaged: take another one."
        )


def _value(path: Any, name: str, leaf: Any, tried: Fit, fresh: set[str]) -> jax.Array:
    if name not in fresh:
        with np.errstate(over="ignore"):  # _check_numbers names what is too large
            return jnp.array(tried.placed[name][1], leaf.dtype)
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise ValueError(
            f"{path} has no value for {name}, and the variables are shapes alone. Give fresh "
            "values: network.init(key, images)."
        )
    return leaf
