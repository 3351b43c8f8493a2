"""Which array of an .npz file is what, by its name.

Names are compared without case and in any order of their words: ``X_test``, ``images_test`` and
``testImages`` are the images of the test part. What looks like a part and is not understood is
refused rather than passed over: the test part would then be cut from training.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from cnnlab.data.folder_names import PART_WORDS
from cnnlab.spelling import some

_IMAGES = ("x", "image", "images", "img", "imgs")
_LABELS = ("y", "label", "labels", "target", "targets")
_CLASS_NAMES = (
    *("classnames", "classes", "labelnames", "labelsnames", "targetnames", "classlabels"),
    "categories",
)
_USUAL = "images and labels; x_train and y_train; train_images and train_labels"


@dataclasses.dataclass(frozen=True)
class Keys:
    """The names of the arrays.

    Attributes:
      parts: (images, labels) of "train" and, where there are any, "validation" and "test".
      class_names: that of the class names, or None.
      ignored: those that are none of these.
    """

    parts: dict[str, tuple[str, str]]
    class_names: str | None
    ignored: tuple[str, ...]


def find_keys(names: Iterable[str]) -> Keys:
    """Tells which array is what.

    Raises:
      ValueError: if there are no training images and labels, images lack labels or labels images,
        two arrays look like the same thing, or one looks like a part and is not understood.
    """
    names = tuple(names)
    found: dict[tuple[str, str], str] = {}
    ignored = []
    for name in names:
        role = _role(name)
        if role is None:
            ignored.append(name)
        elif role in found:
            part, kind = role
            what = "class names" if kind == "names" else f"{part} {kind}"
            raise ValueError(
                f"it holds {found[role]} and {name}, which both look like the {what}. Leave one "
                "out, or rename it."
            )
        else:
            found[role] = name
    class_names = found.pop(("", "names"), None)
    parts = {
        part: _pair(part, found)
        for part in ("train", "validation", "test")
        if (part, "images") in found or (part, "labels") in found
    }
    if "train" not in parts:
        raise ValueError(f"it must hold {_USUAL}; got {', '.join(names) or 'no array'}.")
    for name in ignored:
        unknown = {PART_WORDS[word] for word in _words(name) if word in PART_WORDS} - set(parts)
        if unknown:
            raise ValueError(
                f"it holds {name}, which looks like a part that is not used. Call the arrays of a "
                "part x_train and y_train, x_val and y_val, x_test and y_test; remove it or rename "
                f"it if it is none. Got {some(names, 20)}."
            )
    return Keys(parts, class_names, tuple(ignored))


def _pair(part: str, found: dict[tuple[str, str], str]) -> tuple[str, str]:
    images, labels = found.get((part, "images")), found.get((part, "labels"))
    if images is None or labels is None:
        there = images or labels
        usual = {"validation": ("x_val", "y_val"), "test": ("x_test", "y_test")}
        lacking = usual.get(part, ("images", "labels"))[images is not None]
        raise ValueError(f"it holds {there} but lacks {lacking}.")
    return images, labels


def _role(name: str) -> tuple[str, str] | None:
    """(part, "images" or "labels"), or ("", "names") of class names; None where it is neither."""
    words = _words(name)
    if "".join(words) in _CLASS_NAMES:
        return "", "names"
    parts = [PART_WORDS[word] for word in words if word in PART_WORDS]
    kinds = [kind for kind in (_kind(word) for word in words) if kind]
    understood = len(parts) + len(kinds) == len(words) and len(kinds) == 1 and len(parts) <= 1
    if not understood or parts not in ([], ["train"], ["validation"], ["test"]):
        return None
    return (parts[0] if parts else "train"), kinds[0]


def _kind(word: str) -> str | None:
    return "images" if word in _IMAGES else "labels" if word in _LABELS else None


def _words(name: str) -> list[str]:
    """``["x", "test"]`` of ``X_test``, ``xTest`` and ``Xtest``."""
    separated = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = re.findall(r"[^\W_]+", separated)
    return [part for word in words for part in _without_prefix(word)]


def _without_prefix(word: str) -> list[str]:
    return [word[0], word[1:]] if word[0] in "xy" and word[1:] in PART_WORDS else [word]
