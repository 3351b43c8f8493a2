"""Which code made a result: it must be in the history of the repository, as it was committed."""

import os
import pathlib
import subprocess
from collections.abc import Mapping
from typing import Any


def check_commit(result: Mapping[str, Any], root: pathlib.Path) -> None:
    """Refuses a result that nobody could measure again with the code of the repository.

    Args:
      result: with the environment of its run.
      root: of the repository.

    Raises:
      ValueError: if the result names no commit, one whose files had been changed, or one that is
        not in the history of what is checked out, or that does not hold the experiment.
    """
    git = (result.get("environment") or {}).get("git") or {}
    commit, experiment = git.get("commit"), result.get("experiment", "train")
    advice = "Commit the code, run the experiment again, and keep that result."
    if commit is None:
        raise ValueError(f"the result must name the commit of its code, but names none. {advice}")
    if git.get("dirty"):
        raise ValueError(
            f"the code of the result must be committed, but files of {commit:.7} had been changed. "
            f"{advice}"
        )
    if not _succeeds(root, "merge-base", "--is-ancestor", commit, "HEAD"):
        raise ValueError(f"the history of {root.resolve()} has no commit {commit:.7}. {advice}")
    places = f"experiments/{experiment}", f"experiments/{experiment}.py"
    if not any(_succeeds(root, "cat-file", "-e", f"{commit}:{place}") for place in places):
        raise ValueError(f"the commit {commit:.7} has no experiments.{experiment}. {advice}")


def _succeeds(root: pathlib.Path, *arguments: str) -> bool:
    command = ["git", "-C", os.fspath(root), *arguments]
    return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
