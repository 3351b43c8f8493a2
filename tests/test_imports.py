"""Imports point one way: no module imports itself through others, and each layer only those below.

Imports for types and within functions count, too.
"""

import ast
import functools
import graphlib
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("cnnlab/**/*.py"), *ROOT.glob("experiments/**/*.py")])

LAYERS = (
    {"data", "augment", "models", "losses", "schedules", "optim", "rates"},
    {"train"},
    {"ensemble", "transfer", "diagnose", "report"},
    {"studies"},
    {"experiments"},
)
"""From below; a module imports what stands in its own layer or in one below."""

BASE = {
    "arguments",
    *("boxes", "keys", "mesh", "files", "run_directory", "processes", "spelling", "unpickling"),
    *("limits", "npz_files", "lock", "signals", "terminal", "watch", "varying", "source_file"),
}
"""Helpers that anyone may import."""


def module_name(file: pathlib.Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


def imported(name: str) -> set[str]:
    """The modules of this project that a module imports, anywhere in its file."""
    file = MODULES[name]
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                modules.add(inner if inner in MODULES else source)
    return (modules & set(MODULES)) - {name}


@functools.cache
def graph() -> dict[str, set[str]]:
    return {name: imported(name) for name in MODULES}


def edges() -> list[tuple[str, str]]:
    return [(name, other) for name, others in graph().items() for other in others]


def layer(name: str) -> int | None:
    """The layer in which a module stands; None for a helper of all."""
    top, _, rest = name.partition(".")
    part = top if top == "experiments" else rest.split(".")[0]
    return next((i for i, names in enumerate(LAYERS) if part in names), None)


def test_every_module_has_a_layer_or_is_a_helper_of_all():
    unplaced = {n.split(".")[1] for n in MODULES if layer(n) is None and "." in n}
    assert unplaced <= BASE


def test_no_module_imports_itself_through_others():
    order = list(graphlib.TopologicalSorter(graph()).static_order())  # raises CycleError
    assert set(order) == set(MODULES)


def test_imports_point_to_the_same_layer_or_one_below():
    upward = [
        (a, b)
        for a, b in edges()
        if (below := layer(b)) is not None and below > (-1 if (own := layer(a)) is None else own)
    ]
    assert upward == []


def test_models_know_nothing_of_training_data_or_losses():
    of_models = [(a, b) for a, b in edges() if a.startswith("cnnlab.models")]
    assert all(b.startswith("cnnlab.models") or layer(b) is None for _, b in of_models)


def test_no_experiment_imports_another():
    def folder(name: str) -> str:
        return name.split(".")[1] if name.count(".") else ""

    across = [
        (a, b)
        for a, b in edges()
        if a.startswith("experiments.") and b.startswith("experiments.")
        if folder(b) not in (folder(a), "cli", "options")
    ]
    assert across == []


def test_no_module_has_more_than_400_lines():
    files = [*FILES, *ROOT.glob("benchmarks/*.py")]
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in files}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
