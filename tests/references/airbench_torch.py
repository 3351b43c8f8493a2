"""Logits of a narrow airbench net in PyTorch, and a whitening kernel: ``airbench_torch.json``.

    python tests/references/airbench_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64, with
running statistics and with those of the batch. The test takes the weights and images from here;
only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

WIDTHS, CLASSES, CHANNELS, EPSILON, MOMENTUM = (10, 12, 11), 3, 2, 1e-12, 0.6
NAMES = ("stage1", "stage2", "stage3")


def images() -> np.ndarray:
    """float64 ``[3, 32, 32, 2]`` with correlated neighbours and channels."""
    x = np.random.Generator(np.random.PCG64(0)).standard_normal((3, 33, 33, 3))
    x = x[:, 1:, 1:] + 0.5 * x[:, :-1, 1:] + 0.5 * x[:, 1:, :-1]
    return x[..., :2] + 0.7 * x[..., 1:]


def variables() -> dict[str, np.ndarray]:
    """Parameters and running statistics by path, float64."""
    generator = np.random.Generator(np.random.PCG64(1))
    made = {}

    def kernel(path: str, *shape: int) -> None:
        made[f"params/{path}/kernel"] = generator.standard_normal(shape) / np.sqrt(
            np.prod(shape[:-1])
        )

    kernel("stem/conv", 2, 2, CHANNELS, 8 * CHANNELS)
    made["params/stem/conv/bias"] = generator.standard_normal(8 * CHANNELS)
    before = 8 * CHANNELS
    for name, width in zip(NAMES, WIDTHS, strict=True):
        for index, inputs in ((1, before), (2, width)):
            kernel(f"{name}/conv{index}", 3, 3, inputs, width)
            norm = f"{name}/norm{index}"
            made[f"params/{norm}/bias"] = generator.standard_normal(width)
            made[f"batch_stats/{norm}/mean"] = generator.standard_normal(width)
            made[f"batch_stats/{norm}/var"] = generator.uniform(0.5, 2, width)
        before = width
    kernel("head/dense", before, CLASSES)
    return made


def main() -> None:
    """Runs the net in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional

    tree = {path: torch.from_numpy(value) for path, value in variables().items()}
    x = torch.from_numpy(images()).permute(0, 3, 1, 2)

    def forward(train: bool) -> tuple[list, list]:
        means = []

        def conv(x: torch.Tensor, path: str, padding: int) -> torch.Tensor:
            kernel = tree[f"params/{path}/kernel"].permute(3, 2, 0, 1)
            return functional.conv2d(x, kernel, tree.get(f"params/{path}/bias"), padding=padding)

        def norm(x: torch.Tensor, path: str) -> torch.Tensor:
            layer = torch.nn.BatchNorm2d(
                x.shape[1], eps=EPSILON, momentum=1 - MOMENTUM, dtype=torch.float64
            )
            layer.bias.data = tree[f"params/{path}/bias"]
            layer.running_mean = tree[f"batch_stats/{path}/mean"].clone()
            layer.running_var = tree[f"batch_stats/{path}/var"].clone()
            y = layer.train(train)(x)
            means.append(layer.running_mean.tolist())
            return y

        y = functional.gelu(conv(x, "stem/conv", 0))
        for name in NAMES:
            y = functional.max_pool2d(conv(y, f"{name}/conv1", 1), 2)
            y = functional.gelu(norm(y, f"{name}/norm1"))
            y = functional.gelu(norm(conv(y, f"{name}/conv2", 1), f"{name}/norm2"))
        y = functional.max_pool2d(y, 3).flatten(1)
        return (y @ tree["params/head/dense/kernel"] / 9).tolist(), means

    patches = functional.unfold(x, 2).transpose(1, 2).reshape(-1, CHANNELS, 2, 2)
    patches = patches.permute(0, 2, 3, 1).flatten(1)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    scaled = vectors.flip(1) / torch.sqrt(values.flip(0) + 5e-4)
    numbers = {"torch": torch.__version__, "eval": forward(False)[0]}
    numbers["train"], numbers["means"] = forward(True)
    numbers["whitening"] = scaled.tolist()  # [2 * 2 * C, 2 * 2 * C], one column a filter
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
