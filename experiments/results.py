"""The tables of the README, made from the result files.

    python -m experiments.results --add runs/digits-resnet8-1     # keeps its result and curves
    python -m experiments.results                                 # writes the tables anew

``results/`` holds one small JSON file for each kept run, without paths of the machine;
``benchmarks/results/`` what the benchmarks wrote.
"""

import dataclasses
import json
import pathlib
import shutil
import sys
from typing import Any

import tyro

from experiments import ensembles_page, launch, transfer_page
from experiments.ensembles_page import table

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
BENCHMARKS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: written by python -m experiments.results -->", "<!-- end of results -->"
PAGES = ROOT / "docs" / "ensembles.md", ROOT / "docs" / "transfer.md"
MAIN_FIGURES = ("curves", "learning", "comparison", "errors", "redundancy")
LOCAL = ("data_dir", "run_dir", "runs", "resume", "coordinator", "processes", "process_id")


@dataclasses.dataclass(frozen=True)
class Config:
    """Which run to keep, if any, and where the tables are written."""

    add: pathlib.Path | None = None
    """A run directory whose result is kept."""
    name: str | None = None
    """What the result is called; DATASET-MODEL, or such as depth-DATASET, by default."""
    readme: pathlib.Path = ROOT / "README.md"
    """Where the tables are written."""


def run(config: Config) -> str:
    """Keeps a result, if one is given, and writes the tables into the README.

    Returns:
      The tables, in Markdown.

    Raises:
      ValueError: if the run is not finished, or the README has no place for the tables.
    """
    if config.add is not None:
        _keep(config.add, config.name)
    parts = [_trainings(), *_ensembles(), *_depths(), *_init_studies(), *_benchmarks()]
    tables = "\n\n".join(parts)
    text = config.readme.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{config.readme} must hold the lines {BEGIN!r} and {END!r}.")
    config.readme.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")
    ensembles = [_kept(kind) for kind in ("ensemble_study", "distill", "redundancy")]
    transfers = {kind: _kept(kind) for kind in transfer_page.EXPERIMENTS}
    texts = (ensembles_page.page(*ensembles), transfer_page.page(transfers))
    for page, text, kept in zip(PAGES, texts, (ensembles, transfers.values()), strict=True):
        if any(kept):
            place = config.readme.parent / page.relative_to(ROOT)
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)
    return tables


def _keep(directory: pathlib.Path, name: str | None) -> None:
    path = directory / "result.json"
    if not path.is_file():
        raise ValueError(f"the run in {directory} is not finished: {path.name} is missing.")
    result = json.loads(path.read_text())
    config = {key: _name(value) for key, value in result["config"].items() if key not in LOCAL}
    result = {key: value for key, value in result.items() if key not in LOCAL} | {"config": config}
    dataset, experiment = result["dataset"].partition(":")[0], result.get("experiment", "train")
    default = f"{dataset}-{result['model']}" if experiment == "train" else f"{experiment}-{dataset}"
    if "task" in result:
        default = f"{experiment}-{result['task']}-{dataset}"
    kept = name or default
    RESULTS.mkdir(exist_ok=True)
    if experiment == "init_study":
        result["layers"] = _without_seeds(result["layers"])
    (RESULTS / f"{kept}.json").write_text(json.dumps(result, indent=1) + "\n")
    for figure in sorted((directory / "figures").glob("*.png")):
        rest = "" if figure.stem in MAIN_FIGURES else f"-{figure.stem}"
        if rest == "" or experiment != "train":
            shutil.copy(figure, RESULTS / f"{kept}{rest}.png")


def _name(value: Any) -> Any:
    """Of a path of this machine the name alone; anything else as it is."""
    local = isinstance(value, str) and pathlib.PurePath(value).is_absolute()
    return pathlib.PurePath(value).name if local else value


def _without_seeds(layers: dict[str, Any]) -> dict[str, Any]:
    """Each layer's means and standard errors only: what each seed gave fills a megabyte."""
    kept = ("mean", "standard_error")
    return {
        setting: {
            name: [
                {
                    key: {k: float(f"{figure[k]:.4g}") for k in kept if figure[k] is not None}
                    if isinstance(figure, dict)
                    else figure
                    for key, figure in layer.items()
                    if key in ("layer", "reads_std", "gradient_std", "gradient_to_weight")
                }
                for layer in found
            ]
            for name, found in starts.items()
        }
        for setting, starts in layers.items()
    }


def _kept(experiment: str) -> list[tuple[pathlib.Path, dict[str, Any]]]:
    """The kept results of an experiment."""
    found = [(path, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    return [each for each in found if each[1].get("experiment", "train") == experiment]


def _trainings() -> str:
    from cnnlab.report.statistics import percent

    rows = [
        [
            result["dataset"],
            result["model"],
            str(result["config"]["epochs"]),
            percent(result["test"]["accuracy"]),
            f"{result['seconds']:.0f}",
            _device(result),
            f"[config](results/{path.name}), [curves](results/{path.stem}.png)",
        ]
        for path, result in _kept("train")
    ]
    head = ["data set", "model", "epochs", "test accuracy", "seconds", "device", "all of it"]
    return table(head, rows)


def _device(result: dict[str, Any]) -> str:
    here = result["environment"]
    if here["platform"] == "cpu":
        return f"{here['cpu_count']} CPU cores"
    return f"{here['device_count']} x {here['device_kind']}"


def _ensembles() -> list[str]:
    """The claims of each study of ensembles; the rest is on its page."""
    tables = []
    for path, result in _kept("ensemble_study"):
        config = result["config"]
        tables.append(
            f"`python -m experiments.ensemble_study` on {result['dataset']} ({result['model']}, "
            f"{result['examples']:,} images, {config['epochs']} epochs, {config['seeds']} "
            f"repetitions; all methods, distillation and pruning in "
            f"[docs/ensembles.md](docs/ensembles.md), [figure](results/{path.stem}.png)); "
            "differences of test errors in points with 95 % intervals:"
        )
        rows = [
            [claim, each["published"], _claim(each)] for claim, each in result["claims"].items()
        ]
        tables.append(table(["claim", "published error, %", "measured"], rows))
    return tables


def _depths() -> list[str]:
    from cnnlab.report.statistics import percent

    tables = []
    for path, result in _kept("depth"):
        config = result["config"]
        images = f", {100 * config['fraction']:g} % of the images" if config["fraction"] else ""
        tables.append(
            f"`python -m experiments.depth` on {result['dataset']}{images} (width "
            f"{config['width']}, {config['epochs']} epochs, {result['seconds']:.0f} s on "
            f"{_device(result)}; [config](results/{path.name}), "
            f"[curves](results/{path.stem}.png)); differences in points with 95 % intervals:"
        )
        rows = [
            [name, percent(each["train_error"]), percent(each["test_error"])]
            for name, each in result["architectures"].items()
        ]
        rows += [
            [f"{claim}: {parts['difference']}", _claim(parts["train"]), _claim(parts["test"])]
            for claim, parts in result["claims"].items()
        ]
        tables.append(table(["network or claim", "training error", "test error"], rows))
    return tables


def _init_studies() -> list[str]:
    from cnnlab.report.statistics import percent

    tables = []
    for path, result in _kept("init_study"):
        config = result["config"]
        tables.append(
            f"`python -m experiments.init_study` (learning: {result['model']} on "
            f"{result['dataset']}, {config['epochs']} epochs, {result['seconds']:.0f} s on "
            f"{_device(result)} for all; [config](results/{path.name}), "
            f"[learning](results/{path.stem}.png)); the standard deviation that layers read:"
        )
        rows = [
            [setting, name, " ".join(f"{layer['reads_std']['mean']:.3g}" for layer in layers[1:])]
            for setting, starts in result["layers"].items()
            for name, layers in starts.items()
            if setting != f"{result['model']} on {result['dataset']}"
        ]
        tables.append(table(["network", "init", "layer 2, 3 … and the last"], rows))
        rows = [
            [name, "diverged", ""]
            if found["diverged"] is not None
            else [
                name,
                f"{found['last']['train/loss']['mean']:.3g}",
                percent(found["last"]["validation/accuracy"]),
            ]
            for name, found in result["learning"].items()
        ]
        tables.append(table(["init", "training loss", "validation accuracy"], rows))
    return tables


def _claim(figure: dict[str, Any]) -> str:
    difference = f"{100 * figure['mean']:+.2f}"
    if figure["interval"] is not None:
        low, high = (f"{100 * end:+.2f}" for end in figure["interval"])
        difference += f" ({low} to {high})"
    return f"{difference}: {figure['verdict']}"


def _benchmarks() -> list[str]:
    tables = []
    for path, render in (
        ("against_pytorch.json", _pytorch),
        ("members.json", _members),
        ("frozen.json", _frozen),
        ("startup.json", _startup),
    ):
        if (BENCHMARKS / path).is_file():
            tables.append(render(json.loads((BENCHMARKS / path).read_text())))
    return tables


def _pytorch(result: dict[str, Any]) -> str:
    what = {"train": "training step", "infer": "inference"}
    rows = [
        [
            row["model"],
            what[row["what"]],
            _spread(row["milliseconds"]["cnnlab"]),
            _spread(row["milliseconds"]["torch"]),
            _spread(row["speed"], 2),
        ]
        if not row["disturbed"]
        else [row["model"], what[row["what"]], "disturbed by other load", "", ""]
        for row in result["rows"]
    ]
    head = ["model", "batch of 128", "cnnlab, ms", "PyTorch channels-last, ms", "speed"]
    text = (
        f"`python -m benchmarks.against_pytorch` ({result['environment']['cpu_count']} CPU cores, "
        f"{result['rounds']} rounds by turns, medians with the smallest and largest; speed is "
        "PyTorch's time over cnnlab's):"
    )
    return f"{text}\n\n{table(head, rows)}"


def _members(result: dict[str, Any]) -> str:
    found = {(row["model"], row["members"]): row for row in result["rows"]}
    counts = sorted({members for _, members in found})

    def cell(row: dict[str, Any]) -> str:
        together, turn = (row["milliseconds"][way]["median"] for way in ("together", "in_turn"))
        memory = f"{row['bytes'] / 2**20:.0f} MiB"
        return f"{together:.0f} / {turn:.0f} ({row['against_in_turn']:.2f}), {memory}"

    rows = [
        [f"{model}, batch {found[model, 1]['batch']}", *(cell(found[model, k]) for k in counts)]
        for model in dict.fromkeys(model for model, _ in found)
    ]
    text = (
        "`python -m benchmarks.members` (milliseconds of a step of all K networks, in one program "
        "/ in turn, the ratio, and the memory that the program asks for):"
    )
    return f"{text}\n\n{table(['K networks', *map(str, counts)], rows)}"


def _frozen(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{row['model']}, batch {row['batch']}",
            row["variant"],
            _spread(row["milliseconds"]),
            f"{row['speed']:.1f}",
            f"{row['optimizer_bytes'] / 2**10:,.0f}",
            f"{row['program_bytes'] / 2**20:.0f}",
        ]
        for row in result["rows"]
    ]
    head = ["model", "variant", "ms a step", "times as fast", "optimizer, KiB", "program, MiB"]
    still = all(row["frozen_bitwise_unchanged"] for row in result["rows"])
    text = (
        f"`python -m benchmarks.frozen` (Adam, {result['environment']['cpu_count']} CPU cores, "
        f"{result['rounds']} rounds by turns; cached: the rest is trained on the front's stored "
        f"output; frozen parameters and statistics {'un' * still}changed to the bit):"
    )
    return f"{text}\n\n{table(head, rows)}"


def _startup(result: dict[str, Any]) -> str:
    rows = [[what, _spread(figure, 2)] for what, figure in result["seconds"].items()]
    text = "`python -m benchmarks.startup` (ResNet-20, batch 128):"
    return f"{text}\n\n{table(['from the command to', 'seconds'], rows)}"


def _spread(figure: dict[str, float], digits: int = 1) -> str:
    low, high = figure["min"], figure["max"]
    return f"{figure['median']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    """The command line."""
    with launch.speaking_plainly("experiments.results"):
        print(run(tyro.cli(Config, args=sys.argv[1:], description=__doc__)))


if __name__ == "__main__":
    main()
