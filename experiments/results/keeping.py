"""Kept results: one JSON file and the figures of each run, in the folder ``results``."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from cnnlab.files import read_checked_json, read_json, write_bytes
from cnnlab.run_directory import RESULT

from . import experiments
from .commits import check_commit

HIGHLIGHTS = "highlights.json"
"""The file in the folder of results that is none."""

_OF_THE_MACHINE = (
    *("data_dir", "run_dir", "runs", "resume"),
    *("coordinator", "processes", "process_id", "join_timeout"),
)
_MAIN_FIGURES = ("curves", "learning", "comparison", "errors", "redundancy")
_OF_EVALUATE = ("confusion-", "reliability-test", "reliability-validation", "reliability-train")
"""Beginnings of the figures that experiments.evaluate leaves in the folder of another run."""
_PATH = re.compile(r"(?<!\S)/\S*/([^\s/]+)")


@dataclasses.dataclass(frozen=True)
class Kept:
    """A kept result.

    Attributes:
      path: of its JSON file.
      result: its content.
    """

    path: pathlib.Path
    result: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of its files and its page."""
        return self.path.stem

    @property
    def experiment(self) -> str:
        """The experiment that wrote it."""
        return str(self.result.get("experiment", "train"))


def read_all(folder: pathlib.Path) -> list[Kept]:
    """All kept results, by name."""
    paths = sorted(path for path in folder.glob("*.json") if path.name != HIGHLIGHTS)
    return [Kept(path, read_json(path)) for path in paths]


def figures(kept: Kept, everything: list[Kept]) -> list[pathlib.Path]:
    """The figures of a result: NAME.png first, then NAME-*.png that are of no longer NAME."""
    longer = [each.name for each in everything if each.name.startswith(f"{kept.name}-")]
    main = kept.path.with_suffix(".png")
    others = sorted(kept.path.parent.glob(f"{kept.name}-*.png"))
    own = [
        path
        for path in others
        if not any(path.stem == name or path.stem.startswith(f"{name}-") for name in longer)
    ]
    return [main] * main.is_file() + own


def keep(directory: pathlib.Path, folder: pathlib.Path, name: str | None) -> pathlib.Path:
    """Keeps the result and the figures of a run.

    Args:
      directory: of the run.
      folder: of kept results, in the repository; made if it is missing.
      name: of the result; by default DATASET-MODEL of a training, else EXPERIMENT[-TASK]-DATASET.

    Returns:
      The JSON file.

    Raises:
      ValueError: if the run is not finished, or its code is not in the repository's history.
    """
    source = directory / RESULT
    if not source.is_file():
        raise ValueError(f"the run in {directory} is not finished: {RESULT} is missing.")
    written = read_checked_json(source)
    check_commit(written, folder.parent)
    result = without_paths(written)
    name = name or default_name(result)
    shorten = experiments.hook(result.get("experiment", "train"), "shorten")
    result = result if shorten is None else shorten(result)
    folder.mkdir(parents=True, exist_ok=True)
    for old in figures(Kept(folder / f"{name}.json", {}), read_all(folder)):
        old.unlink()
    for figure in sorted((directory / "figures").glob("*.png")):
        if figure.stem.startswith(_OF_EVALUATE):
            continue
        suffix = "" if figure.stem in _MAIN_FIGURES else f"-{figure.stem}"
        write_bytes(folder / f"{name}{suffix}.png", figure.read_bytes())
    path = folder / f"{name}.json"
    write_bytes(path, (json.dumps(result, indent=1) + "\n").encode())
    return path


def default_name(result: Mapping[str, Any]) -> str:
    """DATASET-MODEL of a training, else EXPERIMENT[-TASK]-DATASET."""
    dataset, experiment = result["dataset"].partition(":")[0], result.get("experiment", "train")
    if experiment == "train":
        return f"{dataset}-{result['model']}"
    return "-".join(filter(None, [experiment, result.get("task"), dataset]))


def without_paths(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result without its machine's folders; other absolute paths are cut to their last part."""
    shown = {key: value for key, value in result.items() if key not in _OF_THE_MACHINE}
    config = {k: v for k, v in result["config"].items() if k not in _OF_THE_MACHINE}
    cleaned: dict[str, Any] = _without_folders({**shown, "config": config})
    return cleaned


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if not isinstance(value, str):
        return value
    path = pathlib.PurePath(value)
    return path.name if path.is_absolute() else _PATH.sub(r"\1", value)
