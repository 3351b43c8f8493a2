"""Networks that a Python file of one's own makes: ``path/net.py:make`` in the place of a name.

The file is run as a script's would be: modules in its folder can be imported. What it consists of,
itself and those modules, is read from its imports without running it, so that a run can keep it.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from cnnlab.spelling import unknown


def split_file(name: str) -> tuple[pathlib.Path, str] | None:
    """The file and the function of a name such as ``net.py:make``; None for another name."""
    path, colon, function = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        return None
    return pathlib.Path(path), function


def load_maker(path: pathlib.Path, function: str) -> Callable[..., Any]:
    """The function, or the module class, that a file defines under a name.

    The same files give the same function, so that programs are compiled once.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no Python, or defines nothing of that name that can be called.
    """
    path = pathlib.Path(path).expanduser().absolute()
    module = _run(path, tuple(read_sources(path).items()))
    maker = getattr(module, function, None)
    if not callable(maker):
        there = [name for name, value in vars(module).items() if _is_own(value, module)]
        raise ValueError(f"{path}: {unknown('function', function, there)}")
    return maker  # type: ignore[no-any-return]


def read_sources(path: pathlib.Path) -> dict[str, bytes]:
    """The file and the modules in its folder that it imports, directly or through others.

    Args:
      path: of the file.

    Returns:
      Content by path within the folder, such as "net.py" and "blocks/norm.py"; the file first.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if one of them is no Python.
    """
    path = pathlib.Path(path).expanduser().absolute()
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} must be the Python file that makes the network, but there is no such file. "
            "Bring it back, or name another one: --model FILE.py:FUNCTION."
        )
    sources: dict[str, bytes] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(path.parent).as_posix()
        if name in sources:
            continue
        sources[name] = file.read_bytes()
        try:
            tree = ast.parse(sources[name], str(file))
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"{file} is no Python that runs here: {error}.") from error
        waiting += _imported(tree, file, path.parent)
    return sources


def sources_digest(path: pathlib.Path) -> str:
    """The SHA-256 sum of ``read_sources``."""
    digest = hashlib.sha256()
    for name, content in sorted(read_sources(path).items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _imported(tree: ast.AST, file: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """The files within the folder that a module may import."""
    names: set[tuple[str, ...]] = set()
    package = file.relative_to(folder).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = (*above, *(node.module.split(".") if node.module else ()))
            names |= {source, *((*source, alias.name) for alias in node.names)}
    beginnings = {name[:end] for name in names for end in range(1, len(name) + 1)}
    places = [folder.joinpath(*each) for each in sorted(beginnings)]
    found = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return [file for file in found if file.is_file()]


@functools.lru_cache(maxsize=32)
def _run(path: pathlib.Path, sources: tuple[tuple[str, bytes], ...]) -> types.ModuleType:
    """The module of a file, whose content and that of its neighbours are given."""
    digest = hashlib.sha256(repr(sources).encode()).hexdigest()
    module = types.ModuleType(f"{path.stem}_{digest[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for their module
    neighbours = {name.split("/")[0].removesuffix(".py") for name, _ in sources[1:]}
    try:
        with _importing(path.parent, neighbours):
            exec(compile(sources[0][1], str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


@contextlib.contextmanager
def _importing(folder: pathlib.Path, neighbours: set[str]) -> Iterator[None]:
    """Imports go to the folder first, and its modules are read anew, whatever was imported before.

    Afterwards ``sys.modules`` has what it had: another file's neighbours may have the same names.
    """

    def take_away() -> dict[str, types.ModuleType]:
        names = [name for name in sys.modules if name.split(".")[0] in neighbours]
        return {name: sys.modules.pop(name) for name in names}

    before, written = take_away(), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # a cached neighbour could be older than its file
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = written
        sys.path.remove(str(folder))
        take_away()
        sys.modules.update(before)


def _is_own(value: Any, module: types.ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__
