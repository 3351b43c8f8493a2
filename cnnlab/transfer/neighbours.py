"""The exact nearest neighbours among features, and the classifier by their majority.

Distances are first computed in float32, by products of matrices; those of the nearest candidates
are then computed again in float64. Where rounding could have hidden a neighbour, the whole gallery
is searched again by products in float64.

Source: Cover and Hart, Nearest neighbor pattern classification, IEEE Trans. Information Theory,
1967; retrieval by a network's features: Krizhevsky et al., NIPS 2012, figure 4.
"""

import functools
from collections.abc import Iterator
from typing import Any, Literal

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import ArrayLike

from cnnlab.spelling import unknown
from cnnlab.transfer.arrays import check_features

Metric = Literal["l2", "cosine"]

METRICS: tuple[Metric, ...] = ("l2", "cosine")

_CHUNK = 2**24  # float32 distances that are computed at once
_EXTRA = 16  # candidates beyond k


def neighbours(
    queries: ArrayLike, gallery: ArrayLike, k: int, metric: Metric = "l2"
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the gallery for each query, nearest first; of equals the first in order.

    Args:
      queries: float ``[Q, D]``.
      gallery: float ``[N, D]``.
      k: from 1 to N.
      metric: "l2", the Euclidean distance; "cosine", 1 minus the cosine, of which a vector of
        zeros has 0 with any other.

    Returns:
      Indices into the gallery int32 ``[Q, k]``, and distances float64 ``[Q, k]``.

    Raises:
      ValueError: for features that are not finite, larger than 1e150 or not of the same length, a
        k that is larger than the gallery, or an unknown metric.
    """
    if metric not in METRICS:
        raise ValueError(unknown("metric", metric, METRICS))
    queries = check_features(queries, "queries")
    gallery = check_features(gallery, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries and gallery must be features of the same stage, got {queries.shape[1]} and "
            f"{gallery.shape[1]} numbers an example."
        )
    if not 1 <= k <= len(gallery):
        raise ValueError(
            f"k must be in 1..{len(gallery)}, as many as there are in the gallery, got {k}."
        )
    queries, gallery, exponent = _of_ordinary_size(queries, gallery)
    # Near the origin products round less; exact distances are those of the uncentred features.
    centre = gallery.mean(0, dtype=np.float64)
    ours, theirs = (_normalise(x, centre, metric) for x in (queries, gallery))
    reach = float(np.linalg.norm(theirs, axis=1).max())
    search = _search(min(len(gallery), k + _EXTRA), metric)
    gallery_array = jnp.asarray(theirs, jnp.float32)
    rows = max(1, _CHUNK // len(gallery))
    indices, distances = [], []
    for start in range(0, len(queries), rows):
        part = ours[start : start + rows]
        # The last part is padded, so that it needs no program of its own.
        padded = np.zeros((min(rows, len(ours)), part.shape[1]), np.float32)
        padded[: len(part)] = part
        near, at = (x[: len(part)] for x in jax.device_get(search(padded, gallery_array)))
        certain = near[:, -1] - _rounding(part, reach, np.float32)
        own = queries[start : start + rows]
        candidates = [np.sort(each) for each in at]
        nearest = [
            _nearest(*each, gallery, k, metric) for each in zip(own, candidates, strict=True)
        ]
        if len(theirs) > at.shape[1]:
            again = [i for i, (_, values) in enumerate(nearest) if values[-1] >= certain[i]]
            for i, subset in zip(
                again, _candidates(own[again], gallery, centre, k, metric), strict=True
            ):
                nearest[i] = _nearest(own[i], subset, gallery, k, metric)
        indices += [each for each, _ in nearest]
        distances += [each for _, each in nearest]
    values = np.stack(distances)
    if metric == "l2":
        values = np.ldexp(np.sqrt(values), exponent)
    return np.stack(indices).astype(np.int32), values


def classify(
    queries: ArrayLike,
    gallery: ArrayLike,
    labels: ArrayLike,
    k: int,
    num_classes: int,
    metric: Metric = "l2",
) -> np.ndarray:
    """The class of most of the k nearest: int32 ``[Q]``.

    On a tie, the tied class with the nearest neighbour.

    Args:
      queries: float ``[Q, D]``.
      gallery: float ``[N, D]``.
      labels: of the gallery, int ``[N]``.
      k: from 1 to N.
      num_classes: the number of classes.
      metric: see ``neighbours``.

    Raises:
      ValueError: as ``neighbours`` does, or if the labels are not the gallery's.
    """
    classes = np.asarray(labels)
    if classes.shape != np.shape(gallery)[:1]:
        raise ValueError(
            f"each of the gallery's {len(np.asarray(gallery))} examples needs a label, got labels "
            f"of shape {classes.shape}."
        )
    return vote(classes[neighbours(queries, gallery, k, metric)[0]], num_classes)


def vote(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The class of most neighbours: int ``[Q, k]``, the nearest first, to int32 ``[Q]``.

    On a tie, the tied class that comes first.

    Raises:
      ValueError: for labels that are not in ``[0, num_classes)``.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"labels must be in [0, {num_classes}), got {labels.min()} to {labels.max()}."
        )
    votes = (labels[:, :, None] == np.arange(num_classes)).sum(1)
    own = np.take_along_axis(votes, labels, axis=1)
    first = np.argmax(own, axis=1)  # the nearest of those with the most votes
    return labels[np.arange(len(labels)), first].astype(np.int32)


@functools.lru_cache(maxsize=32)
def _search(count: int, metric: str) -> Any:
    """``(queries [q, D], gallery [N, D]) -> (values [q, count], indices)`` in float32, compiled.

    The values are what distances grow with: squared distances, or 1 minus the cosine.
    """

    def search(queries: jax.Array, gallery: jax.Array) -> Any:
        products = jnp.einsum("qd,nd->qn", queries, gallery, precision="highest")
        if metric == "cosine":
            values = 1 - products
        else:
            lengths = jnp.sum(gallery**2, axis=1)
            values = jnp.sum(queries**2, axis=1)[:, None] - 2 * products + lengths
        negative, at = jax.lax.top_k(-values, count)
        return -negative, at

    return jax.jit(search)


def _nearest(
    query: np.ndarray, candidates: np.ndarray, gallery: np.ndarray, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the candidates, which are in the gallery's order, and their values."""
    exact = _exact(query, gallery[candidates], metric)
    order = np.argsort(exact, kind="stable")[:k]
    return candidates[order], exact[order]


def _candidates(
    queries: np.ndarray, gallery: np.ndarray, centre: np.ndarray, k: int, metric: str
) -> Iterator[np.ndarray]:
    """Indices of all that may be among the k nearest of each query, by products in float64."""
    if not len(queries):
        return
    ours = _normalise(queries.astype(np.float64), centre, metric)
    values, reach = np.empty((len(queries), len(gallery))), 0.0
    rows = max(1, _CHUNK // gallery.shape[1])
    for start in range(0, len(gallery), rows):
        part = _normalise(gallery[start : start + rows].astype(np.float64), centre, metric)
        lengths = np.square(part).sum(1)
        reach = max(reach, float(np.sqrt(lengths.max())))
        values[:, start : start + rows] = np.square(ours).sum(1)[:, None] - 2 * ours @ part.T
        values[:, start : start + rows] += lengths
    # Of unit vectors this is twice 1 minus the cosine, so it has the same order.
    last = np.partition(values, k - 1, axis=1)[:, k - 1]
    for row, limit in zip(values, last + 2 * _rounding(ours, reach, np.float64), strict=True):
        yield np.flatnonzero(row <= limit)


def _normalise(vectors: np.ndarray, centre: np.ndarray, metric: str) -> np.ndarray:
    """Vectors centred, since products round less near the origin, or of length 1 for the cosine."""
    return _unit(vectors) if metric == "cosine" else vectors - centre.astype(vectors.dtype)


def _rounding(queries: np.ndarray, reach: float, dtype: type) -> np.ndarray:
    """Bounds of the error of values ``[q]``, if all products and sums round in one direction."""
    error = (queries.shape[1] + 8) * float(np.finfo(dtype).eps)
    return np.asarray(error * (np.linalg.norm(queries, axis=1) + reach) ** 2)


def _exact(query: np.ndarray, gallery: np.ndarray, metric: str) -> np.ndarray:
    """Squared distances, or 1 minus the cosine, in float64 ``[n]``."""
    query, gallery = query.astype(np.float64), gallery.astype(np.float64)
    if metric == "cosine":
        return np.maximum(1 - _unit(gallery) @ _unit(query[None])[0], 0)
    return np.asarray(np.square(gallery - query).sum(1))


def _of_ordinary_size(
    queries: np.ndarray, gallery: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Features divided by ``2 ** exponent``, so that float32 holds their squares, and the exponent.

    It is 0, and the features are as they were, unless they are very large or very small.
    """
    largest = max(float(np.abs(each).max()) for each in (queries, gallery))
    _, exponent = np.frexp(largest)
    if abs(exponent) < 40:
        return queries, gallery, 0
    return np.ldexp(queries, -exponent), np.ldexp(gallery, -exponent), int(exponent)


def _unit(vectors: np.ndarray) -> np.ndarray:
    # A power of two changes no digit of the result, and the squares neither overflow nor vanish.
    _, exponents = np.frexp(np.abs(vectors).max(axis=1, keepdims=True))
    vectors = np.ldexp(vectors, -exponents)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))
