"""A lock on a folder, so that two processes do not write to it at once.

The lock is the operating system's (``flock``): it ends with the process that holds it, however that
ends, so none outlives its process. Where there is none, as on Windows and some network disks, a
folder is not locked.
"""

import contextlib
import errno
import os
import pathlib
import platform
from typing import IO, Any

from cnnlab.files import PathLike, naming

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_HELD = (errno.EWOULDBLOCK, errno.EACCES)


class LockedError(OSError):
    """Another process holds the lock."""


def hold(path: PathLike) -> IO[str]:
    """Locks a file, which is made where it is missing; closing what is returned unlocks it.

    The file names the process that locked it last. It stays when the lock ends.

    Raises:
      LockedError: if another process holds the lock; its ``strerror`` says which.
      OSError: if the file could not be opened.
    """
    path = pathlib.Path(path)
    with naming(path):
        file = path.open("a+", encoding="utf-8")
    try:
        _lock(file)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node() or 'this machine'}\n")
        file.flush()
    except LockedError:
        file.close()
        raise
    except OSError:  # a full disk: the lock holds, only the name is missing
        pass
    return file


def _lock(file: IO[str]) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:  # a file system without locks
            return
        file.seek(0)
        holder = "another process"
        with contextlib.suppress(OSError, ValueError):
            holder = file.read(200).strip() or holder
        raise LockedError(errno.EWOULDBLOCK, holder, file.name) from error
