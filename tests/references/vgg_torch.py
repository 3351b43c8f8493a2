"""Logits of narrow VGGs of 11 layers in PyTorch, in ``vgg_torch.json``.

    python tests/references/vgg_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64: as
published, and with batch normalisation by running statistics. The test takes the weights and
images from here; only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

WIDTH, HIDDEN, CLASSES, EPSILON = 4, (9, 11), 3, 1e-5
BLOCKS = (1, 1, 2, 2, 2)
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
NORMS = ("none", "batch")


def images() -> np.ndarray:
    """float64 ``[2, 66, 37, 3]``, of which 2 x 1 pixels are left before the dense layers."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal((2, 66, 37, 3))


def variables(norm: str) -> dict[str, np.ndarray]:
    """Parameters and running statistics by path, float64."""
    generator = np.random.Generator(np.random.PCG64(1))
    made = {}

    def layer(path: str, *shape: int) -> None:
        deviation = np.sqrt(2 / np.prod(shape[:-1]))
        made[f"params/{path}/kernel"] = deviation * generator.standard_normal(shape)
        made[f"params/{path}/bias"] = generator.standard_normal(shape[-1])

    before = 3
    for index, (stage, count) in enumerate(zip(STAGES, BLOCKS, strict=True)):
        width = WIDTH * 2 ** min(index, 3)
        for i in range(1, count + 1):
            layer(f"{stage}/conv{i}", 3, 3, before, width)
            if norm == "batch":
                made[f"params/{stage}/norm{i}/scale"] = generator.uniform(0.5, 1.5, width)
                made[f"params/{stage}/norm{i}/bias"] = generator.standard_normal(width)
                made[f"batch_stats/{stage}/norm{i}/mean"] = generator.standard_normal(width)
                made[f"batch_stats/{stage}/norm{i}/var"] = generator.uniform(0.5, 2, width)
            before = width
    layer("stage5/dense", 2 * 1 * before, HIDDEN[0])
    layer("stage6/dense", *HIDDEN)
    layer("head/dense", HIDDEN[1], CLASSES)
    return made


def main() -> None:
    """Runs the nets in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional

    def forward(norm: str) -> list[list[float]]:
        tree = {path: torch.from_numpy(value) for path, value in variables(norm).items()}
        x = torch.from_numpy(images()).permute(0, 3, 1, 2)
        for stage, count in zip(STAGES, BLOCKS, strict=True):
            for i in range(1, count + 1):
                kernel = tree[f"params/{stage}/conv{i}/kernel"].permute(3, 2, 0, 1)
                x = functional.conv2d(x, kernel, tree[f"params/{stage}/conv{i}/bias"], padding=1)
                if norm == "batch":
                    x = functional.batch_norm(
                        x,
                        tree[f"batch_stats/{stage}/norm{i}/mean"],
                        tree[f"batch_stats/{stage}/norm{i}/var"],
                        tree[f"params/{stage}/norm{i}/scale"],
                        tree[f"params/{stage}/norm{i}/bias"],
                        eps=EPSILON,
                    )
                x = functional.relu(x)
            x = functional.max_pool2d(x, 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        for stage in ("stage5", "stage6"):
            dense = f"params/{stage}/dense"
            x = functional.relu(x @ tree[f"{dense}/kernel"] + tree[f"{dense}/bias"])
        return (x @ tree["params/head/dense/kernel"] + tree["params/head/dense/bias"]).tolist()

    numbers = {norm: forward(norm) for norm in NORMS}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({**numbers, "torch": torch.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main()
