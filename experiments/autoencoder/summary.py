"""The scores of each method, in words."""

from collections.abc import Mapping
from typing import Any

from .config import PHOTOGRAPHS_CONDITION, is_photographs


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text.

    A line for each method: its scores with their standard errors over seeds.
    """
    lines, width = [], max(map(len, result["methods"]))
    for name, summary in result["methods"].items():
        psnr, ssim = summary["psnr"], summary["ssim"]
        setting = f"  ({summary['setting']})" if summary.get("setting") else ""
        lines.append(
            f"{name:{width}}  PSNR {psnr['mean']:6.2f}{_error(psnr, 2)} dB  "
            f"SSIM {ssim['mean']:.4f}{_error(ssim, 4)}  "
            f"squared error {summary['error']['mean']:.5f}{setting}"
        )
    ratio = result.get("code", {}).get("training_error_over_pca")
    if ratio is not None:
        numbers = result["code"]["numbers"]
        lines.append(
            f"training error: {ratio['mean']:.3f} times that of {numbers} principal components"
        )
    if is_photographs(result["dataset"]):
        lines.append(f"Intervals over images: {PHOTOGRAPHS_CONDITION}.")
    return lines


def _error(figure: Mapping[str, Any], digits: int) -> str:
    error = figure["standard_error"]
    return "" if error is None else f" ± {error:.{digits}f}"
