"""Teachers and transfer sets: the outputs of one or more networks as targets of a student.

A teacher is a sequence of ``(recipe, states [M, ...])``: one network (M = 1), an ensemble of one
architecture, or several of these. Its logits are computed once and stored in the data set
(``teacher_logits``, ``with_teacher_targets``), or computed for each augmented batch
(``live_teacher``). The student's loss is ``losses.distillation`` or ``losses.logits_matching``.

Source: Hinton, Vinyals & Dean, arXiv 1503.02531, 2015; Ba & Caruana, NIPS 2014.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import ArrayLike

from cnnlab.data.dataset import Dataset
from cnnlab.data.splits import class_index
from cnnlab.mesh import fetch
from cnnlab.spelling import some, unknown
from cnnlab.train.evaluate import predict
from cnnlab.train.state import Recipe, TrainState
from cnnlab.train.step import predict_step

Teachers = Sequence[tuple[Recipe, TrainState]]
"""Networks with their recipes; states are ``[M, ...]``, as ``fit`` yields them."""

RULES = ("logits", "probabilities")
"""How the outputs of a teacher's networks are averaged."""


def teacher_logits(
    teachers: Teachers,
    dataset: Dataset,
    *,
    rule: str = "logits",
    temperature: float = 1.0,
    batch_size: int = 512,
) -> np.ndarray:
    """A teacher's logits of each example, without augmentation.

    Args:
      teachers: see ``Teachers``; each network counts the same.
      dataset: its images are the inputs; each recipe prepares them in its own way.
      rule: "logits" takes the mean of the logits (the geometric mean of the probabilities),
        "probabilities" the logarithm of the mean of the probabilities.
      temperature: > 0, at which "probabilities" are averaged. With that of the loss, the student's
        soft targets are the mean of those of the networks.
      batch_size: examples at a time.

    Returns:
      float32 ``[N, K]``, in the order of the data set.

    Raises:
      ValueError: for no teacher, one of other classes or images, or an unknown rule.
    """
    _check_rule(rule, temperature)
    _check_teachers(teachers, dataset)
    logits = [predict(*teacher, dataset, batch_size=batch_size) for teacher in teachers]
    return np.asarray(_average(np.concatenate(logits), rule, temperature))


def with_teacher_targets(dataset: Dataset, logits: ArrayLike) -> Dataset:
    """The data set with a teacher's logits ``[N, K]`` as the targets of its examples.

    Raises:
      ValueError: if they are not finite logits of its examples and classes.
    """
    return dataclasses.replace(dataset, targets=np.asarray(logits, np.float32))


def live_teacher(
    teachers: Teachers,
    student: Recipe,
    dataset: Dataset,
    *,
    rule: str = "logits",
    temperature: float = 1.0,
) -> Callable[[jax.Array], jax.Array]:
    """A teacher that sees the same augmented images as the student.

    Its networks see the images that the student's recipe prepares, so their recipes must prepare
    them alike. Their parameters become a part of the student's compiled program.

    Args:
      teachers: see ``Teachers``.
      student: the student's recipe.
      dataset: the student's training data; some images are prepared both ways, to compare.
      rule: as for ``teacher_logits``.
      temperature: as for ``teacher_logits``.

    Returns:
      For ``Recipe.teacher``: ``images [N, H, W, C] -> logits [N, K]``, images as the student sees
      them.

    Raises:
      ValueError: for a teacher that prepares images otherwise, and as ``teacher_logits``.

    Example:
      >>> recipe = dataclasses.replace(recipe, teacher=live_teacher(teachers, recipe, train))
    """
    _check_rule(rule, temperature)
    _check_teachers(teachers, dataset)
    probe = np.asarray(dataset.images[np.linspace(0, len(dataset) - 1, 8).astype(np.int64)])
    wanted = np.asarray(student.prepare(jax.random.key(0), jnp.asarray(probe)))
    for recipe, _ in teachers:
        images = np.asarray(recipe.prepare(jax.random.key(0), jnp.asarray(probe)))
        if images.shape != wanted.shape or not np.allclose(images, wanted, rtol=1e-3, atol=1e-3):
            raise ValueError(
                "a live teacher must prepare images as its student does, because it sees the same "
                "images; this one normalises them otherwise. Give both recipes the same prepare, "
                "or compute the teacher's logits once by teacher_logits."
            )
    networks = [(recipe, fetch(_evaluated_variables(states))) for recipe, states in teachers]

    def teach(images: jax.Array) -> jax.Array:
        outputs = []
        for recipe, variables in networks:

            def one(variables: Any, recipe: Recipe = recipe) -> jax.Array:
                logits: Any = recipe.network.apply(variables, images, train=False)
                return logits

            # One after the other: side by side their convolutions would become grouped ones.
            outputs.append(jax.lax.map(one, jax.tree.map(jnp.asarray, variables)))
        return _average(jnp.concatenate(outputs), rule, temperature)

    return teach


def without_classes(dataset: Dataset, classes: Sequence[str | int]) -> Dataset:
    """A transfer set without the examples of some classes, whose names stay.

    Args:
      dataset: to leave examples out of; targets are kept, and so are its statistics.
      classes: by name or index.

    Raises:
      ValueError: for no class, an unknown class, or if no example is left.
    """
    if isinstance(classes, str) or not len(classes):
        raise ValueError(f"classes must be a sequence of names or indices, got {classes!r}.")
    missing = [class_index(dataset, name) for name in classes]
    kept = np.flatnonzero(~np.isin(dataset.labels, missing))
    if not len(kept):
        names = some(dataset.class_names[index] for index in missing)
        raise ValueError(
            f"{dataset.name}: without {names} no example is left. Leave out fewer classes."
        )
    return dataset.take(kept)


# Classes that the transfer set lacked ----------------------------------------------------------


class ClassBias(NamedTuple):
    """A number to add to the logits of some classes, and the resulting accuracy in [0, 1]."""

    bias: float
    accuracy: float


def class_bias(logits: ArrayLike, labels: ArrayLike, classes: int | Sequence[int]) -> ClassBias:
    """The bias of the logits of ``classes`` with the highest accuracy.

    The exact optimum, ties apart: between the margins of two neighbouring examples the accuracy is
    constant, so one value in each such interval is tried, after one sort. The bias is 0 where that
    is among the best, else the middle of a best interval, the one nearest to 0 (1 beyond its end,
    where it has only one).

    Args:
      logits: float ``[N, K]`` of a student.
      labels: int ``[N]``; of validation data, or as in the paper of the test data.
      classes: those that the transfer set lacked; all get the same bias.

    Raises:
      ValueError: for other shapes, or if all classes or none are named.

    Source: Hinton et al., 2015, section 3 ("the bias ... which optimizes overall performance").
    """
    logits, inside = _check_logits(logits, classes)
    labels = np.asarray(labels)
    if labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"labels must be [N] for logits {logits.shape}, got {labels.shape}.")
    margins, gained, lost = _margins(logits, inside, labels)
    changing = gained | lost
    ends, place = np.unique(margins[changing], return_inverse=True)
    changes = np.bincount(place, (gained.astype(int) - lost)[changing], len(ends))
    right = lost.sum() + np.append(0, np.cumsum(changes))  # in the interval before each end
    lows, highs = np.append(-np.inf, ends), np.append(ends, np.inf)
    best = np.flatnonzero(right == right.max())
    bias = min((_number_between(lows[i], highs[i]) for i in best), key=abs)
    return ClassBias(bias, _accuracy(logits, inside, labels, bias))


def prior_bias(logits: ArrayLike, classes: int | Sequence[int], frequency: float) -> float:
    """The bias with which ``classes`` are predicted as often as they are expected; no labels.

    Args:
      logits: float ``[N, K]`` of a student.
      classes: those that the transfer set lacked; all get the same bias.
      frequency: the fraction of the examples in [0, 1] that is expected to be of these classes.

    Raises:
      ValueError: for numbers out of range.
    """
    logits, inside = _check_logits(logits, classes)
    if not 0 <= frequency <= 1:
        raise ValueError(f"frequency must be in [0, 1], got {frequency}.")
    margins = np.sort(_keep_outside(logits, inside).max(1) - _keep_inside(logits, inside).max(1))
    count = round(frequency * len(margins))
    low = margins[count - 1] if count else -np.inf
    high = margins[count] if count < len(margins) else np.inf
    return _number_between(low, high)


def gap_closed(
    alone: ArrayLike, distilled: ArrayLike, teacher: float, confidence: float = 0.95
) -> dict[str, Any]:
    """The fraction of the gap between a student alone and its teacher that distillation closes.

    ``mean(alone - distilled) / (mean(alone) - teacher)``, and Fieller's interval for this ratio of
    means, paired by seed: the ratios that Student's t does not reject.

    Args:
      alone: ``[M]`` errors of students that learned from labels.
      distilled: ``[M]`` errors of those that learned from the teacher, of the same seeds.
      teacher: its error.
      confidence: of the interval, in (0, 1).

    Returns:
      ``fraction``, None if the students alone are as good as the teacher; ``interval``, None for
      one seed or where the gap itself does not differ from 0; ``confidence``.

    Raises:
      ValueError: for errors of different seeds, or none, or a confidence out of range.

    Source: Fieller, J. Roy. Statist. Soc. B 16, 1954.
    """
    from scipy import stats  # noqa: PLC0415 scipy.stats is slow to import

    ours, theirs = np.asarray(alone, np.float64), np.asarray(distilled, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1 or not ours.size:
        raise ValueError(
            f"both must be [M], of the same seeds, got shapes {ours.shape} and {theirs.shape}."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}.")
    gained, gap = ours - theirs, ours - teacher
    result: dict[str, Any] = {"fraction": None, "interval": None, "confidence": confidence}
    a, b = gained.mean(), gap.mean()
    if b <= 0:
        return result
    result["fraction"] = float(a / b)
    if len(gap) == 1:
        return result
    (va, vab), (_, vb) = np.cov(gained, gap) / len(gap)
    t2 = stats.t.ppf((1 + confidence) / 2, len(gap) - 1) ** 2
    # (a - r b)^2 <= t^2 var(a - r b), a quadratic in the ratio r.
    square, half, constant = b * b - t2 * vb, a * b - t2 * vab, a * a - t2 * va
    if square > 0:
        reach = np.sqrt(max(half * half - square * constant, 0.0))
        result["interval"] = [float((half - reach) / square), float((half + reach) / square)]
    return result


# Helpers ---------------------------------------------------------------------------------------


def _average(logits: Any, rule: str, temperature: float) -> jax.Array:
    """``[M, N, K] -> [N, K]``."""
    if rule == "logits":
        return jnp.mean(logits, axis=0)
    softened = jax.nn.log_softmax(jnp.asarray(logits) / temperature)
    return temperature * (jax.nn.logsumexp(softened, axis=0) - np.log(len(logits)))


def _evaluated_variables(states: TrainState) -> dict[str, Any]:
    """The variables that are evaluated."""
    network = states.evaluated
    return {"params": network.params, **network.model_state}


def _check_rule(rule: str, temperature: float) -> None:
    if rule not in RULES:
        raise ValueError(unknown("rule", rule, RULES))
    if not 0 < temperature < float("inf"):
        raise ValueError(f"the temperature must be positive and finite, got {temperature}.")


def _check_teachers(teachers: Teachers, dataset: Dataset) -> None:
    if any(isinstance(each, Recipe | TrainState) for each in teachers):
        raise ValueError(
            "teachers must be a sequence of (recipe, states), got one such pair without a list "
            "around it: [(recipe, states)]."
        )
    if not teachers:
        raise ValueError("a teacher must be at least one (recipe, states), got none.")
    images = jax.ShapeDtypeStruct((2, *dataset.image_shape), jnp.uint8)
    for recipe, states in teachers:
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states)
        try:
            logits = jax.eval_shape(lambda s, x, r=recipe: predict_step(r, s, x), one, images)
        except Exception as error:
            raise ValueError(
                f"a teacher cannot be run on the images {dataset.image_shape} of {dataset.name}: "
                f"{error}"
            ) from error
        if getattr(logits, "shape", None) != (2, dataset.num_classes):
            raise ValueError(
                f"a teacher must have the {dataset.num_classes} classes of {dataset.name}, "
                f"got logits of shape {getattr(logits, 'shape', None)} for two images. Use a "
                "teacher that was trained on the same classes."
            )


def _check_logits(logits: ArrayLike, classes: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits in float64, and a mask ``[K]`` of the classes."""
    array = np.asarray(logits, np.float64)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"logits must be finite numbers [N, K], got shape {array.shape}.")
    named = np.atleast_1d(np.asarray(classes))
    count = array.shape[1]
    fits = named.size and named.dtype.kind in "iu" and (named >= 0).all() and (named < count).all()
    inside = np.zeros(count, bool)
    if fits:
        inside[named] = True
    if not fits or inside.all():
        raise ValueError(f"classes must be some of 0 to {count - 1}, not all, got {classes}.")
    return array, inside


def _keep_inside(logits: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.where(inside, logits, -np.inf)


def _keep_outside(logits: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.where(inside, -np.inf, logits)


def _margins(
    logits: np.ndarray, inside: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``[N]``: the bias above which a biased class is predicted; if that is right; if below is.

    The biased classes keep their order, and so do the others, so one bias decides each example.
    """
    within, outside = _keep_inside(logits, inside), _keep_outside(logits, inside)
    margins = outside.max(1) - within.max(1)
    return margins, within.argmax(1) == labels, outside.argmax(1) == labels


def _accuracy(logits: np.ndarray, inside: np.ndarray, labels: np.ndarray, bias: float) -> float:
    return float(((logits + bias * inside).argmax(1) == labels).mean())


def _number_between(low: float, high: float) -> float:
    """A number between the two: 0 if it lies there, else the middle, or 1 beyond the only end."""
    if low < 0 < high:
        return 0.0
    if np.isinf(low) or np.isinf(high):
        return float(high - 1 if np.isinf(low) else low + 1)
    return float((low + high) / 2)
