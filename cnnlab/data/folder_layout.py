"""Which sub-folder of an image folder is which part and which class, by the usual names.

What is not understood is refused rather than guessed: a part that is taken for a class gives a high
accuracy and means nothing.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cnnlab.data.class_lookalikes import case_notes, check_names
from cnnlab.data.folder_names import (
    image_of_mask,
    is_any_image,
    is_beside,
    is_unlabelled,
    part_of,
)
from cnnlab.data.images import EXTENSIONS
from cnnlab.spelling import printable, some

_NOT_DATA = ("__MACOSX", "@eaDir", "__pycache__")  # of macOS, of Synology, of Python


@dataclasses.dataclass(frozen=True)
class Layout:
    """The folders of the parts: "train" and, where there are any, "validation" and "test"."""

    parts: dict[str, Path]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Listing:
    """The image files of one part: paths under its folder, and the class of each.

    Attributes:
      files: the paths, sorted within each class, as the file system has them.
      labels: an index into ``class_names`` for each.
      class_names: the names of the class folders, printable.
      notes: what was passed over.
    """

    files: list[str]
    labels: list[int]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def find_parts(root: Path) -> Layout:
    """Finds the folder of each part.

    ``train/`` makes the folders beside it parts. ``test/`` is the test part, or without one
    ``val/``; with both, ``val/`` is the validation part; ``eval/`` is whichever of the two is
    missing. A part without class folders has no labels and is passed over, which is noted, as is
    every other folder. Without ``train/`` all is training, and ``root`` holds the classes.

    Raises:
      FileNotFoundError: if the training part holds no class folder.
      ValueError: if it is not clear which folder is which part.
    """
    root = _unwrap(root)
    folders = subfolders(root)
    by_part = _training_group(root, folders)
    if by_part is None:
        return Layout({"train": root}, ())
    _decide_evaluation(by_part)
    chosen = {part: _unwrap(found[0]) for part, found in by_part.items()}
    notes = []
    for part, place in list(chosen.items()):
        if part != "train" and not subfolders(place):
            images = sum(is_image(path) for path in walk(place))
            what = f"{images} images without class folders" if images else "no image"
            notes.append(f"{_relative(place, root)}/ passed over: it holds {what}")
            del chosen[part]
    if "test" not in chosen and "validation" in chosen:
        chosen["test"] = chosen.pop("validation")
    _check_train(chosen, [f for f in folders if f not in by_part["train"]])
    taken = [found[0] for found in by_part.values()]
    others = [folder for folder in folders if folder not in taken]
    if others and len(by_part) == 1 and any(map(_holds_images, others)):
        raise ValueError(
            f"{_shown(chosen['train'])} looks like the training part, but the folders beside it "
            f"({_names(others)}) look like classes. Rename it if it is a class, or move them into "
            "it if they are."
        )
    if others:
        notes.append(f"passed over beside {_names(by_part['train'])}: {_names(others)}")
    _check_different(chosen)
    notes += [
        f"{part} is the folder {_relative(chosen[part], root)}/"
        for part in ("test", "validation")
        if part in chosen
    ]
    return Layout(chosen, tuple(notes))


def list_classes(place: Path) -> Listing:
    """Lists the images of a part, a folder for each class.

    Sub-folders of a class folder belong to it, and links are followed. Hidden files, and files that
    are no images by their names, are left out; a link to nowhere that is called like an image is
    listed, so that it is an unreadable file and not none.

    Raises:
      FileNotFoundError: if there is no folder in it.
      ValueError: if a class is empty, is called like a part, like masks beside images or
        "unlabeled", looks like another one, or is itself divided into parts, if there are masks
        beside its images, or each has a sub-folder of masks or thumbnails.
    """
    classes = subfolders(place)
    if not classes:
        raise FileNotFoundError(
            f"{_shown(place)} must hold a folder of images for each class, such as "
            f"{_shown(place / 'cat')}, but there is no folder in it."
        )
    _check_class_folders(place, classes)
    files: list[str] = []
    labels: list[int] = []
    ignored: collections.Counter[str] = collections.Counter()
    joined: dict[Path, collections.Counter[str]] = {}
    for label, folder in enumerate(classes):
        paths = sorted(walk(folder))
        images = [path for path in paths if is_image(path)]
        ignored.update(path.suffix.lower() or "no suffix" for path in paths if not is_image(path))
        if not images:
            raise ValueError(
                f"empty class: {_shown(folder)} must hold images ({', '.join(EXTENSIONS)}), but "
                f"has none{f'; it has {some(ignored)}' if paths else ''}."
            )
        _check_masks(folder, images)
        joined[folder] = collections.Counter(
            path.relative_to(folder).parts[0] if path.parent != folder else "" for path in images
        )
        files += [path.relative_to(place).as_posix() for path in images]
        labels += [label] * len(images)
    _check_joined(joined)
    names = tuple(printable(folder.name) for folder in classes)
    check_names(names, _shown(place))
    notes, where = list(case_notes(names)), printable(place.resolve().name)
    nested = [
        f"{printable(folder.name)}/{printable(name)}/ ({count} images)"
        for folder, counts in joined.items()
        for name, count in counts.items()
        if name
    ]
    if nested:
        notes.append(f"sub-folders joined into their class: {some(nested)}")
    loose = sum(is_image(path) for path in place.iterdir() if not path.is_dir())
    if loose:
        notes.append(f"{loose} images in {where}/ passed over: of no class")
    if ignored:
        kinds = printable(some(sorted(ignored)))
        notes.append(
            f"{ignored.total()} files that are no images passed over in {where}/ ({kinds})"
        )
    return Listing(files, labels, names, tuple(notes))


def check_classes(places: dict[str, Path], listings: dict[str, Listing]) -> None:
    """Checks that training has several classes, and the other parts the same.

    Raises:
      ValueError: if there is only one, or a part lacks a class or has another.
    """
    train = listings["train"]
    if len(train.class_names) == 1:
        (folder,) = subfolders(places["train"])
        inner = subfolders(folder)
        advice = f"Pass {_shown(folder)} for its {_names(inner)}" if inner else "Add another"
        raise ValueError(
            f"{_shown(places['train'])} must hold a folder for each of at least 2 classes, but "
            f"{_names([folder])} is the only one. {advice}."
        )
    for part, other in listings.items():
        lacking = sorted(set(train.class_names) - set(other.class_names))
        added = sorted(set(other.class_names) - set(train.class_names))
        if lacking or added:
            differences = [f"lacks {some(lacking)}"] if lacking else []
            differences += [f"has {some(added)}, which training lacks"] if added else []
            raise ValueError(
                f"{_shown(places[part])} must have the class folders of "
                f"{_shown(places['train'])}; it {' and '.join(differences)}. If it has no labels, "
                "move it away."
            )


def subfolders(place: Path) -> list[Path]:
    """The folders in ``place``, and links to folders, sorted; without hidden ones.

    Raises:
      ValueError: if one is a link to nowhere.
    """
    found = []
    for path in sorted(place.iterdir()):
        if _hidden(path.name):
            continue
        if path.is_symlink() and not path.exists() and not is_image(path):
            raise ValueError(
                f"{_shown(path)} is a link to {_shown(path.readlink())}, which is not there. Mend "
                "or remove it."
            )
        if path.is_dir():
            found.append(path)
    return found


def walk(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The files in ``folder`` and its sub-folders, links followed, without hidden ones."""
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it lies in, whose files are already there
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if _hidden(entry.name):
                continue
            if os.path.isdir(entry):  # False for links to nowhere or to themselves
                yield from walk(folder / entry.name, above | {real})
            else:
                yield folder / entry.name


def is_image(path: Path) -> bool:
    """Whether a file is called like an image."""
    return path.suffix.lower() in EXTENSIONS


def _unwrap(folder: Path) -> Path:
    """The folder, or in ``seg_train/seg_train/``, as archives often have it, the inner one."""
    while True:
        inner = [path for path in folder.iterdir() if not _hidden(path.name)]
        same = len(inner) == 1 and inner[0].name.lower() == folder.name.lower()
        if not same or not inner[0].is_dir() or not subfolders(inner[0]):
            return folder
        folder = inner[0]


def _training_group(root: Path, folders: Sequence[Path]) -> dict[str, list[Path]] | None:
    """The folders of each part, of those that share the rest of their names; None without train."""
    groups: dict[str, dict[str, list[Path]]] = {}
    for folder in folders:
        name = part_of(folder.name)
        if name is not None and name[0] != "fold":
            groups.setdefault(name[1], {}).setdefault(name[0], []).append(folder)
    complete = {
        rest: group
        for rest, group in groups.items()
        if "train" in group and (rest == "" or len(group) > 1)
    }
    if not complete:
        return None
    if len(complete) > 1 and "" not in complete:
        raise ValueError(
            f"{_shown(root)} must hold one training part, got "
            f"{_names([group['train'][0] for group in complete.values()])}. Move the others away."
        )
    group = complete.get("") or next(iter(complete.values()))
    for part, found in group.items():
        if len(found) > 1:
            raise ValueError(
                f"{_shown(root)} must hold one {part} part, but {_names(found)} all look like it. "
                "Move the others away, or join them."
            )
    return group


def _decide_evaluation(group: dict[str, list[Path]]) -> None:
    evaluation = group.pop("evaluation", None)
    free = [part for part in ("validation", "test") if part not in group]
    if evaluation is not None and free:
        group["test" if free == ["test"] else "validation"] = evaluation


def _check_train(chosen: dict[str, Path], siblings: list[Path]) -> None:
    if not subfolders(chosen["train"]):
        beside = f" If it is a class beside {_names(siblings)}, rename it." if siblings else ""
        raise FileNotFoundError(
            f"{_shown(chosen['train'])} looks like the training part and must hold a folder of "
            f"images for each class, but there is no folder in it.{beside}"
        )


def _check_different(chosen: dict[str, Path]) -> None:
    seen: dict[str, str] = {}
    for part, place in chosen.items():
        other = seen.setdefault(os.path.realpath(place), part)
        if other != part:
            raise ValueError(
                f"{_shown(place)} is the {part} and, by a link, the {other} part. They must be "
                "different folders."
            )


def _check_class_folders(place: Path, classes: list[Path]) -> None:
    parts = [folder for folder in classes if (part_of(folder.name) or ("", "-"))[1] == ""]
    if parts:
        raise ValueError(
            f"{_shown(place)} must hold a folder for each class, but {_names(parts)} has the name "
            "of a part. Parts must be train/CLASS/, test/CLASS/ and val/CLASS/; rename a class."
        )
    unlabelled = [folder for folder in classes if is_unlabelled(folder.name)]
    if unlabelled:
        raise ValueError(
            f"{_shown(place)} must hold a folder for each class, but {_names(unlabelled)} has no "
            "labels by its name. Move it away, or rename it if it is a class."
        )
    beside = [folder for folder in classes if is_beside(folder.name)]
    if beside and all(is_beside(folder.name) or is_any_image(folder.name) for folder in classes):
        raise ValueError(
            f"{_shown(place)} must hold a folder for each class, but {_names(beside)} looks "
            f"like what lies beside images, and {_names(classes)} name no class. Lay the images "
            "out as CLASS/IMAGE."
        )
    for folder in classes:
        named = [(part_of(inner.name), inner) for inner in subfolders(folder)]
        within = {part[0]: inner for part, inner in named if part is not None and part[1] == ""}
        if len(within) > 1 and len(classes) > 1:
            raise ValueError(
                f"{_shown(folder)} is divided into parts ({_names(list(within.values()))}), which "
                "would be joined. Lay them out as train/CLASS/ and test/CLASS/."
            )


def _check_masks(folder: Path, images: list[Path]) -> None:
    """Refuses masks beside at least half of the images of a class: x.png and x_mask.png."""
    stems = {path.with_suffix("") for path in images}
    masks = [
        path
        for path in images
        if (name := image_of_mask(path.stem)) is not None and path.with_name(name) in stems
    ]
    if masks and 2 * len(masks) >= len(images) - len(masks):
        raise ValueError(
            f"{_shown(folder)} holds masks beside its images, such as {printable(masks[0].name)}, "
            "which would be images of the class. Move them away, or rename them."
        )


def _check_joined(joined: dict[Path, collections.Counter[str]]) -> None:
    """Refuses sub-folders that are no images of their class: parts, and masks in every class."""
    if len(joined) == 1:  # which is refused as the only one
        return
    for folder, counts in joined.items():
        for name in counts:
            part, rest = part_of(name) or ("fold", "")  # to join folds is right
            if part != "fold" and not rest and counts[name] < counts.total():
                raise ValueError(
                    f"{_shown(folder / name)} looks like a part of the class, but it would be "
                    f"joined with the {counts.total() - counts[name]} images beside it. Lay the "
                    "parts out as train/CLASS/ and test/CLASS/, or rename it."
                )
    first, *others = joined.values()
    everywhere = [
        name for name in first if is_beside(name) and all(name in counts for counts in others)
    ]
    if everywhere:
        raise ValueError(
            f"every class has a sub-folder {some(f'{printable(name)}/' for name in everywhere)}, "
            "which would be joined with the images of the class. Move them away, or rename them."
        )


def _holds_images(folder: Path) -> bool:
    return any(is_image(path) for path in walk(folder))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _NOT_DATA


def _names(folders: Sequence[Path]) -> str:
    return some(f"{printable(folder.name)}/" for folder in folders)


def _relative(folder: Path, root: Path) -> str:
    return printable(folder.relative_to(root).as_posix())


def _shown(path: Path) -> str:
    return printable(path)
