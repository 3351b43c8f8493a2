"""The options of a command line: in groups, from a run or a file of settings, misspelt ones named.

Importing this module imports no jax.
"""

import ast
import dataclasses
import inspect
import itertools
import pathlib
import sys
import typing
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import tyro

from cnnlab.spelling import nearest
from cnnlab.studies.resume import check_agreement, config_from_file, stored_config
from cnnlab.studies.settings import Training, WeightsFile, experiment_name, option_name

_FIRST_FIELDS = {
    "dataset": "data",
    "model": "network",
    "epochs": "training",
    "normalization": "augmentation",
    "seeds": "seeds",
    "runs": "run",
    "coordinator": "hosts",
}
"""The first field of each group of ``Training``, whose fields are in the order of their groups."""

_ABOUT = {
    "data": "Which images, and how they are parted.",
    "network": "Which network, and how its weights start.",
    "training": "How long it is trained, and by which rule.",
    "augmentation": "How images are normalised and varied.",
    "seeds": "How many networks are trained at once, and how they are spread over the devices.",
    "run": "Where the run is written down; runs that go on, or that have the settings of another.",
    "hosts": "For a run over several hosts.",
    "weights": "Weights of a file, and what it does not say itself of their network.",
}
"""What is in the groups; any other one is the experiment's own."""

_CONFIG = "config"
_CONFIG_HELP = (
    "Take the settings of another run: its config.json, its directory, or a kept result.json. "
    "Options that are given beside it count; the run's own place does not."
)


def parse(kind: type[Any], arguments: Sequence[str], description: str | None, program: str) -> Any:
    """The config that a command line says.

    With ``--resume`` it is that of the run which goes on, with ``--config`` that of a file, in
    which the other options change something. Where configs have ``sizes``, ``--size`` sets the
    defaults of the other options.

    Args:
      kind: of the config.
      arguments: of the command line.
      description: above the options in the help; its lines are kept.
      program: in the usage line.

    Raises:
      ResumeError: if there is no run to resume, or an option disagrees with it.
      ValueError: for a file that does not hold settings of this experiment.
    """
    _check_names(kind, arguments, program)
    if {"-h", "--help"} & set(arguments):
        print(inspect.cleandoc(description or ""), end="\n\n")
    trains = any(field.name == "resume" for field in dataclasses.fields(kind))
    directory = option_value(arguments, "--resume") if trains else None
    file = option_value(arguments, f"--{_CONFIG}") if trains else None
    size = option_value(arguments, "--size")
    if directory is not None:
        if file is not None:
            raise ValueError("--config: a run that goes on has its own settings. Leave it out.")
        stored = stored_config(kind, pathlib.Path(directory))
        # The processes are those of today, not those that the run began with.
        stored = dataclasses.replace(stored, coordinator=None, processes=None, process_id=None)
        return check_agreement(_read(kind, arguments, stored, program, trains), stored)
    default = None
    if file is not None:
        default = config_from_file(kind, pathlib.Path(file))
    elif size in getattr(kind, "sizes", ()):
        default = kind.for_size(size)
    return _read(kind, arguments, default, program, trains)


def option_value(arguments: Sequence[str], option: str) -> str | None:
    """The value of ``option`` on a command line (``--option X``, ``--option=X``), or None."""
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None


# Groups --------------------------------------------------------------------------------------


def grouped_fields(kind: type[Any]) -> dict[str, list[str]]:
    """The fields of a config by the group in which the help shows them: the experiment's own first.

    The group of a field that every training has is that of ``Training``, also where an experiment
    has another default for it.
    """
    shared: dict[str, str] = {}
    if issubclass(kind, Training):
        group = ""
        for field in dataclasses.fields(Training):
            group = _FIRST_FIELDS.get(field.name, group)
            shared[field.name] = group
    elif issubclass(kind, WeightsFile):
        shared = {field.name: "weights" for field in dataclasses.fields(WeightsFile)}
    own = experiment_name(kind)
    groups: dict[str, list[str]] = {group: [] for group in (own, *shared.values())}
    for field in dataclasses.fields(kind):
        groups[shared.get(field.name, own)].append(field.name)
    return {group: names for group, names in groups.items() if names}


def field_texts(kind: type[Any]) -> dict[str, str]:
    """The text below each field of a dataclass, its own or that of the class it comes from."""
    texts = {}
    for each in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        module = ast.parse(inspect.getsource(sys.modules[each.__module__]))
        classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
        body = classes[each.__name__].body if each.__name__ in classes else []
        for field, after in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                value = getattr(getattr(after, "value", None), "value", None)
                if isinstance(after, ast.Expr) and isinstance(value, str):
                    texts[field.target.id] = " ".join(value.split())
    return texts


def _read(
    kind: type[Any], arguments: Sequence[str], default: Any, program: str, trains: bool
) -> Any:
    """The config that tyro reads, by way of a dataclass with one field for each group."""
    hints = typing.get_type_hints(kind, include_extras=True)
    texts = field_texts(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    groups: list[Any] = []
    for group, names in grouped_fields(kind).items():
        own: list[Any] = []
        for name in names:
            hint: Any = Annotated[hints[name], tyro.conf.arg(help=texts.get(name, ""))]
            value = fields[name].default if default is None else getattr(default, name)
            own.append((name, hint) if value is dataclasses.MISSING else (name, hint, value))
        if trains and "resume" in names:
            hint = Annotated[pathlib.Path | None, tyro.conf.arg(help=_CONFIG_HELP)]
            own.append((_CONFIG, hint, None))
        made: Any = dataclasses.make_dataclass(group, own, frozen=True, kw_only=True)
        about = _ABOUT.get(group, "What is this experiment's own.")
        hint = Annotated[made, tyro.conf.arg(help=about)]
        complete = all(len(each) == 3 for each in own)
        groups.append((group, hint, made()) if complete else (group, hint))
    options: Any = dataclasses.make_dataclass("options", groups, frozen=True, kw_only=True)
    grouped = Annotated[options, tyro.conf.OmitArgPrefixes]
    read: Any = tyro.cli(grouped, args=arguments, description="", prog=program)
    values = {name: value for group in vars(read).values() for name, value in vars(group).items()}
    values.pop(_CONFIG, None)
    return kind(**values)


# Names ---------------------------------------------------------------------------------------


def _check_names(kind: type[Any], arguments: Sequence[str], program: str) -> None:
    """Ends the program at an option that this experiment does not have."""
    hints = typing.get_type_hints(kind, include_extras=True)
    options: set[str] = {"--help"}
    hidden: set[str] = set()
    for field in dataclasses.fields(kind):
        said = getattr(hints[field.name], "__metadata__", ())
        names = [each.name for each in said if getattr(each, "name", None)]
        option = option_name(names[0] if names else field.name)
        (hidden if tyro.conf.Suppress in said else options).add(option)
        if hints[field.name] is bool:
            options.add(f"--no-{option[2:]}")
    if "--resume" in options:
        options.add(f"--{_CONFIG}")
    for argument in itertools.takewhile(lambda word: word != "--", arguments):
        given = argument.partition("=")[0].replace("_", "-")
        if given in hidden:
            _refuse(f"{given} is not an option here: this experiment sets it itself.", program)
        if given.startswith("--tyro-"):  # completion of a shell
            continue
        if given.startswith("--") and given not in options:
            near = nearest(given[2:], (option[2:] for option in sorted(options)))
            near = near.replace(" '", " '--")
            _refuse(f"unknown option {given}.{near}", program)


def _refuse(message: str, program: str) -> NoReturn:
    print(f"error: {message} All options: {program} --help", file=sys.stderr)
    sys.exit(2)
