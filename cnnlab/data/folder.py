"""Images from folders: a folder for each class, or ``train/`` and ``val/`` with such folders.

Files are decoded with Pillow to RGB. As in torchvision and Keras, an orientation that a camera
noted in the file (EXIF) is not applied.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.data.dataset import MEMORY_LIMIT, Dataset, LazyImages, Parts, image_bytes

if TYPE_CHECKING:
    import PIL.Image

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
_TRAIN = "train"
_VALIDATION = ("val", "valid", "validation")
_TEST = "test"
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


class FolderImages(LazyImages):
    """Image files, decoded on access: uint8 [H, W, 3].

    Args:
      root: the folder that the files are in.
      files: their N paths, relative to it.
      size: (H, W) of every image: it is resized so that it just covers this, then cropped to it at
        the centre. An image of that size is not changed.
    """

    def __init__(self, root: Path, files: Sequence[str], size: tuple[int, int]) -> None:
        self._root = root
        self._files = tuple(files)
        self.shape = (len(files), *size, 3)

    def read(self, index: int) -> np.ndarray:
        """Image number ``index``: uint8 [H, W, 3].

        Raises:
          ValueError: if the file cannot be decoded; it is named.
        """
        height, width = self.shape[1:3]
        return read_image(self._root / self._files[index], (height, width))

    def identity(self, indices: np.ndarray) -> Iterable[str]:
        """The size of the decoded images; each file's path and bytes."""
        yield repr(self.shape[1:])
        for i in indices:
            file = self._files[i]
            yield f"{file} {os.stat(self._root / file).st_size}"


@dataclasses.dataclass(frozen=True)
class _Listing:
    """The files of one part: paths under the root and the class of each."""

    files: list[str]
    labels: list[int]
    class_names: tuple[str, ...]
    ignored: int


def read(
    root: Path,
    image_size: int | tuple[int, int] | None = None,
    on_unreadable: str = "error",
    memory_limit: int = MEMORY_LIMIT,
) -> Parts:
    """The images under ``root``: png, jpg, jpeg, bmp, webp and gif (its first frame).

    With ``train/`` in it, ``test/`` is the test part, or without one ``val/`` (or ``valid/``,
    ``validation/``); with all three, ``val/`` is the validation part. Sub-folders of a class
    folder belong to it; hidden files and files of other kinds are ignored.

    Args:
      root: the folder.
      image_size: the size to give the images, a side or (H, W); not needed if all are of one size.
      on_unreadable: "error", or "skip" to leave unreadable files out and count them in the notes.
      memory_limit: parts of more bytes than this are decoded on access instead of once.

    Raises:
      FileNotFoundError: if there is no such folder, or no class folder in it.
      ValueError: if a class folder is empty, a file cannot be read, sizes differ without an
        ``image_size``, or the parts have other classes than training.
    """
    size = _check_size(image_size)
    if on_unreadable not in ("error", "skip"):
        raise ValueError(f"on_unreadable must be 'error' or 'skip', got {on_unreadable!r}.")
    if not root.is_dir():
        raise FileNotFoundError(f"folder: {root} must be a folder of images, but it is not.")
    places = _places(root)
    listings = {part: _listing(place) for part, place in places.items()}
    for part, listing in listings.items():
        _check_same_classes(places, part, listings["train"], listing)
    skipped: list[str] = []
    if size is None:
        size = _common_size(places, listings, on_unreadable, skipped)
    datasets = {
        part: _dataset(root, places[part], listing, size, on_unreadable, memory_limit, skipped)
        for part, listing in listings.items()
    }
    notes = _notes(root, places, listings, sorted(set(skipped)))
    return Parts(datasets["train"], datasets.get("test"), datasets.get("validation"), notes)


def _check_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    pair = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(pair) != 2 or any(type(n) is not int or n < 1 for n in pair):
        raise ValueError(f"image_size must be a side or (H, W), each at least 1, got {image_size}.")
    return pair[0], pair[1]


def _places(root: Path) -> dict[str, Path]:
    train = root / _TRAIN
    if not train.is_dir() or not _folders(train):
        return {"train": root}
    places = {"train": train}
    validation = next((root / name for name in _VALIDATION if (root / name).is_dir()), None)
    if (root / _TEST).is_dir():
        places["test"] = root / _TEST
        if validation is not None:
            places["validation"] = validation
    elif validation is not None:
        places["test"] = validation
    return places


def _notes(
    root: Path, places: dict[str, Path], listings: dict[str, _Listing], skipped: list[str]
) -> tuple[str, ...]:
    notes = []
    if "test" in places:
        notes.append(f"test is the folder {places['test'].name}/")
    if "validation" in places:
        notes.append(f"validation is the folder {places['validation'].name}/")
    ignored = sum(listing.ignored for listing in listings.values())
    if ignored:
        notes.append(f"{ignored} files that are no images passed over")
    if skipped:
        first = os.path.relpath(skipped[0], root)
        count = f"{len(skipped)} unreadable files" if len(skipped) > 1 else "1 unreadable file"
        notes.append(f"{count} skipped ({first}{', ...' if len(skipped) > 1 else ''})")
    return tuple(notes)


def _folders(place: Path) -> list[Path]:
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))


def _listing(place: Path) -> _Listing:
    classes = _folders(place)
    if not classes:
        raise FileNotFoundError(
            f"{place} must hold a folder of images for each class, such as {place / 'cat'}, but "
            "there is no folder in it."
        )
    files: list[str] = []
    labels: list[int] = []
    ignored = 0
    for label, folder in enumerate(classes):
        before = len(files)
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if hidden or not path.is_file():
                continue
            if path.suffix.lower() not in EXTENSIONS:
                ignored += 1
                continue
            files.append(path.relative_to(place).as_posix())
            labels.append(label)
        if len(files) == before:
            raise ValueError(
                f"empty class: {folder} must hold images ({', '.join(EXTENSIONS)}), but has none."
            )
    return _Listing(files, labels, tuple(folder.name for folder in classes), ignored)


def _check_same_classes(
    places: dict[str, Path], part: str, train: _Listing, other: _Listing
) -> None:
    lacking = sorted(set(train.class_names) - set(other.class_names))
    added = sorted(set(other.class_names) - set(train.class_names))
    if lacking or added:
        differences = [f"lacks {', '.join(lacking)}"] if lacking else []
        differences += [f"has {', '.join(added)}, which training lacks"] if added else []
        raise ValueError(
            f"{places[part]} must have the class folders of {places['train']}; it "
            f"{' and '.join(differences)}."
        )


def _common_size(
    places: dict[str, Path], listings: dict[str, _Listing], on_unreadable: str, skipped: list[str]
) -> tuple[int, int]:
    # From the headers, without decoding.
    common, first = None, None
    for part, listing in listings.items():
        for file in listing.files:
            path = places[part] / file
            try:
                size = _header_size(path)
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
    listing: _Listing,
    size: tuple[int, int],
    on_unreadable: str,
    memory_limit: int,
    skipped: list[str],
) -> Dataset:
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
    name = root.resolve().name
    if pixels is None:
        files = [listing.files[i] for i in kept]
        return Dataset(FolderImages(place, files, size), labels, listing.class_names, name)
    images = pixels if len(kept) == len(pixels) else pixels[kept]
    return Dataset(images, labels, listing.class_names, name)


def _header_size(path: Path) -> tuple[int, int]:
    with _open_image(path) as image:
        return image.height, image.width


def read_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The image in a file: uint8 [H, W, 3], as in ``FolderImages``.

    Args:
      path: of a file of 8 bits a channel that Pillow reads; grey becomes RGB.
      size: (H, W): it is resized so that it just covers this, then cropped to it at the centre.

    Raises:
      ValueError: if the file cannot be decoded; it is named.
    """
    import PIL.Image  # noqa: PLC0415 Pillow is needed for image files only

    with _open_image(path) as image:
        try:
            image.load()
        except Exception as error:  # a decoder can raise anything on a damaged file
            raise _unreadable_error(path, error) from error
        if image.mode in _DEEP_MODES:
            raise ValueError(
                f"{path}: images must have 8 bits a channel, got mode {image.mode!r}. "
                "Convert the file to 8 bits."
            )
        rgb = image.convert("RGBA" if "transparency" in image.info else "RGB").convert("RGB")
    height, width = size
    if (rgb.height, rgb.width) == size:
        return np.asarray(rgb)
    scale = max(height / rgb.height, width / rgb.width)
    covering = max(width, round(rgb.width * scale)), max(height, round(rgb.height * scale))
    rgb = rgb.resize(covering, PIL.Image.Resampling.BILINEAR)
    left, top = (rgb.width - width) // 2, (rgb.height - height) // 2
    return np.asarray(rgb.crop((left, top, left + width, top + height)))


def _open_image(path: Path) -> PIL.Image.Image:
    import PIL.Image  # noqa: PLC0415 Pillow is needed for image files only

    try:
        return PIL.Image.open(path)
    except Exception as error:  # as above: a damaged header can raise anything
        raise _unreadable_error(path, error) from error


def _unreadable_error(path: Path, error: Exception) -> ValueError:
    reason = "no image that Pillow knows" if "identify" in str(error) else str(error)
    return ValueError(
        f"{path} cannot be read as an image: {reason}. Repair or remove the file; in an "
        "image folder, on_unreadable='skip' leaves such files out."
    )
