"""The Python files of a network of one's own, kept in the run that trained it.

A run whose model is ``/path/net.py:make`` keeps the file, and what it imports from its folder, in
``network_source/``. Whatever reads the run compares them with the files of today: other code
under old weights would be another network, and nothing would say so.

Importing this module imports no jax.
"""

import pathlib

from cnnlab.run_directory import ResumeError, kept_files, read_file
from cnnlab.source_file import read_sources, split_file
from cnnlab.spelling import some
from cnnlab.studies.settings import Training

FOLDER = "network_source"


def source_files(config: Training) -> dict[str, bytes]:
    """What a run directory keeps of the files that make the config's network, if any do.

    Raises:
      FileNotFoundError: if the file is not there.
      ValueError: if it is no Python.
    """
    file = split_file(config.model)
    if file is None:
        return {}
    return {f"{FOLDER}/{name}": content for name, content in read_sources(file[0]).items()}


def check_sources(directory: pathlib.Path, config: Training) -> None:
    """Refuses a run whose network is made by files that are gone or were changed since.

    Raises:
      ResumeError: then.
    """
    file = split_file(config.model)
    if file is None:
        return
    names = [name for name in kept_files(directory) if name.startswith(f"{FOLDER}/")]
    kept = {name: read_file(directory, name) for name in names}
    advice = f"Bring back the files that the run keeps in {pathlib.Path(directory) / FOLDER}"
    try:
        now = source_files(config)
    except (OSError, ValueError) as error:
        reason = f"the network of the run in {directory}: {error}"
        raise ResumeError(f"{reason} {advice}.") from error
    changed = sorted(name for name in kept.keys() | now if kept.get(name) != now.get(name))
    if changed:
        places = [str(file[0].parent / name.removeprefix(f"{FOLDER}/")) for name in changed]
        raise ResumeError(
            f"the network of the run in {directory} is made by {file[0]}, of which "
            f"{some(places)} is not what it was when the run began: its weights are those of "
            f"another network. {advice}, or start a new run."
        )
