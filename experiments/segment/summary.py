"""The overlap of the U-Nets, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent

from .config import STARTS


def point_line(point: Mapping[str, Any]) -> str:
    """The mean IoU of a training's networks as text."""
    mean, digits = (percent(point[name]) for name in ("mean_iou", "mean_iou_digits"))
    return f"mean IoU {mean}, of the digits alone {digits}, {point['seconds']:.0f} s"


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text, a training each."""
    lines = [
        f"{each['loss']}, {STARTS[each['start']]}, {each['scenes']} scenes: {point_line(each)}"
        for each in result["points"]
    ]
    classifier = result["classifier"]
    if classifier is not None:
        accuracy = percent(classifier["test_accuracy"])
        lines.append(f"classifier, {classifier['scenes']} scenes: test accuracy {accuracy}")
    return lines
