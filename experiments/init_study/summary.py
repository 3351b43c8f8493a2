"""The comparison of initialisations, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent


def learning_line(label: str, learning: Mapping[str, Any]) -> str:
    """How one initialisation learnt, as a line of text."""
    if learning["diverged"]:
        return f"{label}: diverged at step {learning['diverged']['step']}"
    last, text = learning["last"], ""
    if learning["distinct_units"]:
        fraction = learning["distinct_units"]["fraction"]["mean"]
        text = f", {100 * fraction:.3g} % of the hidden units distinct"
    return (
        f"{label}: training loss {last['train/loss']['mean']:.4g}, validation accuracy "
        f"{percent(last['validation/accuracy'])}{text}"
    )


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text: deviations by layer, then how each learnt."""
    lines = ["standard deviation of the input of layer 2, 3 … and the last:"]
    for setting, starts in result["layers"].items():
        for label, layers in starts.items():
            stds = " ".join(f"{layer['reads_std']['mean']:.3g}" for layer in layers[1:])
            lines.append(f"  {setting}, {label}: {stds}")
    if result["learning"]:
        lines.append(f"learning, {result['model']} on {result['dataset']}:")
    lines += [f"  {learning_line(label, each)}" for label, each in result["learning"].items()]
    return lines


def shorten(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result to be kept: of each layer means and standard errors, of four digits.

    The values of each seed fill a megabyte.
    """
    layers = {
        setting: {
            label: [_shorten_layer(each) for each in layers] for label, layers in starts.items()
        }
        for setting, starts in result["layers"].items()
    }
    return {**result, "layers": layers}


def _shorten_layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    short = {"layer": layer["layer"]}
    for name in ("reads_std", "gradient_std", "gradient_to_weight"):
        if name in layer:
            figure = {key: layer[name][key] for key in ("mean", "standard_error")}
            short[name] = {k: float(f"{v:.4g}") for k, v in figure.items() if v is not None}
    return short
