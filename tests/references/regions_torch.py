"""Pooled regions by PyTorch's own operations: ``regions_torch.json``.

    python tests/references/regions_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed). RoI pooling is
``adaptive_max_pool2d`` of the cells that a box covers, which has the same bins; RoI align is the
mean of points that ``grid_sample`` interpolates. The test takes features and boxes from here; only
``main`` needs torch.
"""

import json
import pathlib

import numpy as np

SIZE, STRIDE, SAMPLES = 3, 4, 2


def features() -> np.ndarray:
    """float64 ``[H, W, C]``, negative numbers too."""
    generator = np.random.Generator(np.random.PCG64(0))
    return generator.standard_normal((9, 12, 2))


def boxes() -> np.ndarray:
    """``[R, 4]`` in an image of 36 x 48: of one cell, of all, of odd sizes, at the edges."""
    whole = [[0, 0, 36, 48], [4, 8, 8, 12], [0, 0, 4, 4], [32, 44, 36, 48], [6, 10, 26, 31]]
    generator = np.random.Generator(np.random.PCG64(1))
    low = generator.uniform(0, [24, 36], (7, 2))
    high = low + generator.uniform(1, [36, 48] - low)
    return np.concatenate([np.asarray(whole, float), np.hstack([low, high])])


def main() -> None:
    """Pools in PyTorch and writes the numbers."""
    import torch
    from torch.nn.functional import adaptive_max_pool2d, grid_sample

    maps = torch.from_numpy(features()).permute(2, 0, 1)
    _, height, width = maps.shape
    pooled, aligned = [], []
    for box in boxes():
        y0, x0, y1, x1 = np.floor(box / STRIDE + 0.5).astype(int)
        covered = maps[:, y0 : y1 + 1, x0 : x1 + 1]
        # Cells after the last one count in the size of the bins, but are not there.
        below, right = y1 + 1 - y0 - covered.shape[1], x1 + 1 - x0 - covered.shape[2]
        padded = torch.nn.functional.pad(covered, (0, right, 0, below), value=-torch.inf)
        bins = adaptive_max_pool2d(padded[None], SIZE)[0]
        pooled.append(torch.where(bins.isinf(), 0, bins).permute(1, 2, 0).tolist())
        y0, x0, y1, x1 = box / STRIDE
        within = (np.arange(SIZE * SAMPLES) + 0.5) / (SIZE * SAMPLES)
        rows = 2 * (y0 + within * (y1 - y0)) / height - 1
        columns = 2 * (x0 + within * (x1 - x0)) / width - 1
        grid = np.stack(np.meshgrid(columns, rows), axis=-1)
        points = grid_sample(
            maps[None], torch.from_numpy(grid)[None], padding_mode="border", align_corners=False
        )[0]
        mean = points.reshape(-1, SIZE, SAMPLES, SIZE, SAMPLES).mean((2, 4))
        aligned.append(mean.permute(1, 2, 0).tolist())
    numbers = {"torch": torch.__version__, "pool": pooled, "align": aligned}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
