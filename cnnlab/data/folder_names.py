"""What the names of folders and arrays say: a part, masks beside images, images without labels.

Names are compared without case, and words such as "set" or "images" do not count: ``Training_Set/``
is a training part, and so are ``seg_train/`` beside ``seg_test/``.
"""

from __future__ import annotations

import re

_WORDS = {
    "train": ("train", "training", "trn", "trainval"),
    "validation": ("val", "valid", "validation", "validate", "validating", "dev", "development"),
    "test": ("test", "testing", "tst"),
    "evaluation": ("eval", "evaluation", "evaluate"),  # the validation or the test part
    "fold": ("fold",),  # of a cross-validation; no class either
}
PART_WORDS = {word: part for part, words in _WORDS.items() for word in words}
_FILLERS = ("set", "split", "part", "data", "dataset", "image", "images", "img", "imgs")
_BESIDE = (  # what lies beside photographs and is none
    *("mask", "masks", "thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews"),
    *("annotation", "annotations", "segmentation", "segmentations", "groundtruth", "gt", "labels"),
)
_UNLABELLED = ("unlabeled", "unlabelled", "unsup")


def part_of(name: str) -> tuple[str, str] | None:
    """The part that a folder of this name is of, and what else is in the name; None for no part.

    ``part_of("Seg_Train")`` is ``("train", "seg")``.
    """
    separated = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = [re.sub(r"(?<=.)(set|data|images)$", "", word) for word in _letters(separated)]
    parts = {PART_WORDS[word] for word in words if word in PART_WORDS}
    if len(parts) != 1:
        return None
    rest = [word for word in words if word not in PART_WORDS and word not in _FILLERS]
    return parts.pop(), " ".join(rest)


def is_beside(name: str) -> bool:
    """Whether a folder of this name holds what lies beside images, such as masks or thumbnails."""
    words = [word for word in _letters(name.lower()) if word not in _FILLERS]
    return bool(words) and all(word in _BESIDE for word in words)


def image_of_mask(stem: str) -> str | None:
    """The image beside which a file of this name, without its suffix, is a mask or the like.

    ``image_of_mask("scan (1)_mask_2")`` is ``"scan (1)"``; None for a name without such a word.
    """
    found = re.fullmatch(r"(.+?)[ _-]+([a-z]+)([ _-]*\d+)?", stem, re.IGNORECASE)
    return found[1] if found is not None and found[2].lower() in _BESIDE else None


def is_any_image(name: str) -> bool:
    """Whether the name says that there are images, and not of what."""
    words = _letters(name.lower())
    return bool(words) and all(word in _FILLERS for word in words)


def is_unlabelled(name: str) -> bool:
    """Whether the name says that there are no labels."""
    return name.lower() in _UNLABELLED


def _letters(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text)
