"""Images from folders: a folder for each class, or ``train/`` and ``val/`` with such folders.

Which folder is what is in ``folder_layout``, how a file is decoded in ``images``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cnnlab.data.dataset import MEMORY_LIMIT, Dataset, Images, Parts, image_bytes
from cnnlab.data.folder_images import FolderImages
from cnnlab.data.folder_layout import Listing, check_classes, find_parts, list_classes
from cnnlab.data.images import check_size, header_size
from cnnlab.data.part_checks import Title, check_files
from cnnlab.spelling import printable


def read(
    root: Path,
    image_size: int | tuple[int, int] | None = None,
    on_unreadable: str = "error",
    memory_limit: int = MEMORY_LIMIT,
) -> Parts:
    """The images under ``root``, of the formats and extensions of ``images``.

    Either ``root/CLASS/`` or ``root/train/CLASS/`` with ``root/test/CLASS/``, ``root/val/CLASS/``
    or both, by these or similar names (``Training``, ``valid``, ``dev``, ``seg_test``, …; see
    ``find_parts``). Sub-folders of a class folder belong to it, links are followed, of an
    animation the first frame is taken, and what is transparent is shown on white; what is joined,
    changed or passed over is in the notes (images that stay on the disk are not decoded for this).

    Args:
      root: the folder.
      image_size: the size to give the images, a side or (H, W); not needed if all are of one size.
      on_unreadable: "error", or "skip" to leave unreadable files out and count them in the notes.
      memory_limit: parts of more bytes than this are decoded on access instead of once.

    Raises:
      FileNotFoundError: if there is no such folder, or no class folder in it.
      ValueError: if there is only one class, a class folder is empty or called like a part, it is
        not clear which folder is which part, a file cannot be read, sizes differ without an
        ``image_size``, or the parts have other classes than training.
    """
    size = None if image_size is None else check_size(image_size)
    if on_unreadable not in ("error", "skip"):
        raise ValueError(f"on_unreadable must be 'error' or 'skip', got {on_unreadable!r}.")
    if not root.is_dir():
        raise FileNotFoundError(_not_a_folder(root))
    layout = find_parts(root)
    places = layout.parts
    listings = {part: list_classes(place) for part, place in places.items()}
    check_classes(places, listings)
    skipped: list[str] = []
    if size is None:
        size = _common_size(places, listings, on_unreadable, skipped)
    datasets, transparent = {}, 0
    for part, listing in listings.items():
        datasets[part], count = _dataset(
            root, places[part], listing, size, on_unreadable, memory_limit, skipped
        )
        transparent += count
    shared = _shared_files(root, size, {p: d.images for p, d in datasets.items()}, places, listings)
    notes = layout.notes + tuple(note for listing in listings.values() for note in listing.notes)
    notes += _skipped_note(root, sorted(set(skipped)))
    if transparent:
        notes += (f"{transparent} images are transparent in places: shown on white",)
    notes += shared
    return Parts(datasets["train"], datasets.get("test"), datasets.get("validation"), notes)


def _shared_files(
    root: Path,
    size: tuple[int, int],
    images: dict[str, Images],
    places: dict[str, Path],
    listings: dict[str, Listing],
) -> tuple[str, ...]:
    """Notes on files that a part shares with training, where one of the two is in memory.

    Parts that are both in memory, or both on the disk, can be compared later.
    """
    on_disk = {part: isinstance(found, FolderImages) for part, found in images.items()}
    notes: list[str] = []
    titles: tuple[Title, ...] = ("test", "validation")
    for part in titles:
        if part in images and on_disk[part] != on_disk["train"]:
            train, other = (
                FolderImages(place, [f for f in files if (place / f).is_file()], size)
                for place, files in ((places[p], listings[p].files) for p in ("train", part))
            )
            notes += check_files(train, other, part, printable(root.resolve().name))
    return tuple(notes)


def _not_a_folder(root: Path) -> str:
    advice = "Pass the folder that holds the class folders; unpack an archive first"
    if root.suffix.lower() == ".npz":
        advice = "Load it as npz (--dataset npz)"
    return f"folder: {printable(root)} must be a folder of images, but it is not. {advice}."


def _skipped_note(root: Path, skipped: list[str]) -> tuple[str, ...]:
    if not skipped:
        return ()
    first = printable(os.path.relpath(skipped[0], root))
    count = f"{len(skipped)} unreadable files" if len(skipped) > 1 else "1 unreadable file"
    return (f"{count} skipped ({first}{', ...' if len(skipped) > 1 else ''})",)


def _common_size(
    places: dict[str, Path], listings: dict[str, Listing], on_unreadable: str, skipped: list[str]
) -> tuple[int, int]:
    # From the headers, without decoding.
    common, first = None, None
    for part, listing in listings.items():
        for file in listing.files:
            path = places[part] / file
            try:
                size = header_size(path)
            except ValueError:
                if on_unreadable == "error":
                    raise
                skipped.append(str(path))
                continue
            if common is None:
                common, first = size, path
            elif size != common:
                raise ValueError(
                    f"images must be of one size, or image_size must be given: {first} is "
                    f"{common[0]} x {common[1]} (H x W), {path} is {size[0]} x {size[1]}. "
                    "Pass image_size, a side or (H, W), to resize and crop them."
                )
    if common is None:
        raise ValueError(f"none of the images under {places['train']} can be read.")
    return common


def _dataset(
    root: Path,
    place: Path,
    listing: Listing,
    size: tuple[int, int],
    on_unreadable: str,
    memory_limit: int,
    skipped: list[str],
) -> tuple[Dataset, int]:
    """The images of one part, and how many of those that were decoded are transparent."""
    lazy = FolderImages(place, listing.files, size)
    keep_lazy = image_bytes(lazy.shape) > memory_limit
    pixels = None if keep_lazy else np.empty(lazy.shape, np.uint8)
    kept = []
    for i in range(len(lazy)):
        if keep_lazy and on_unreadable == "error":
            kept = list(range(len(lazy)))  # a file that cannot be read is named on access
            break
        try:
            image = lazy.read(i)
        except ValueError:
            if on_unreadable == "error":
                raise
            skipped.append(str(place / listing.files[i]))
            continue
        if pixels is not None:
            pixels[i] = image
        kept.append(i)
    if not kept:
        raise ValueError(f"none of the images under {place} can be read.")
    labels = np.array(listing.labels, np.int32)[kept]
    name = printable(root.resolve().name)
    if pixels is None:
        files = [listing.files[i] for i in kept]
        images: Images = FolderImages(place, files, size)
    else:
        images = pixels if len(kept) == len(pixels) else pixels[kept]
    return Dataset(images, labels, listing.class_names, name), len(lazy.transparent)
