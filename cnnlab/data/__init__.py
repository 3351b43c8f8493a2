"""Data: named sources, splits and subsets, all as one kind of value, the `Dataset`."""

from cnnlab.data.dataset import (
    Dataset,
    Images,
    LazyImages,
    Statistics,
    compute_statistics,
    fingerprint,
)
from cnnlab.data.features import Features
from cnnlab.data.images import read_image
from cnnlab.data.sources import from_arrays, load, names, read_parts
from cnnlab.data.splits import Splits, folds, split, subset

__all__ = [
    "Dataset",
    "Features",
    "Images",
    "LazyImages",
    "Splits",
    "Statistics",
    "compute_statistics",
    "fingerprint",
    "folds",
    "from_arrays",
    "load",
    "names",
    "read_image",
    "read_parts",
    "split",
    "subset",
]
