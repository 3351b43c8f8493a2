"""Logits of narrow residual nets of 18 and 50 layers in PyTorch, in ``resnet_torch.json``.

    python tests/references/resnet_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64, with
running statistics. The test takes the weights and images from here; only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

WIDTH, CLASSES, EPSILON = 8, 3, 1e-5
CASES = {
    "18": {"bottleneck": False, "blocks": (2, 2, 2, 2)},
    "18/small": {"bottleneck": False, "blocks": (1, 1, 1, 1), "small": True},
    "18/A": {"bottleneck": False, "blocks": (1, 1, 1, 1), "shortcut": "A"},
    "50": {"bottleneck": True, "blocks": (3, 4, 6, 3)},
    "50/published": {"bottleneck": True, "blocks": (1, 1, 1, 1), "stride_on": "conv1"},
    "50/A": {"bottleneck": True, "blocks": (1, 1, 1, 1), "shortcut": "A"},
    "50/plain": {"bottleneck": True, "blocks": (1, 1, 1, 1), "shortcut": "none"},
}


def images() -> np.ndarray:
    """float64 ``[2, 45, 38, 3]``: odd and even, so that the padding of a stride shows."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal((2, 45, 38, 3))


def variables(case: str) -> dict[str, np.ndarray]:
    """Parameters and running statistics by path, float64."""
    options = CASES[case]
    generator = np.random.Generator(np.random.PCG64(1))
    made = {}

    def convolution(block: str, name: str, norm: str, size: int, inputs: int, outputs: int) -> None:
        deviation = np.sqrt(2 / (size**2 * inputs))
        shape = (size, size, inputs, outputs)
        made[f"params/{block}/{name}/kernel"] = deviation * generator.standard_normal(shape)
        made[f"params/{block}/{norm}/scale"] = generator.uniform(0.5, 1.5, outputs)
        made[f"params/{block}/{norm}/bias"] = generator.standard_normal(outputs)
        made[f"batch_stats/{block}/{norm}/mean"] = generator.standard_normal(outputs)
        made[f"batch_stats/{block}/{norm}/var"] = generator.uniform(0.5, 2, outputs)

    convolution("stem", "conv", "norm", 3 if options.get("small") else 7, 3, WIDTH)
    before = WIDTH
    for stage, blocks in enumerate(options["blocks"], start=1):
        inner = WIDTH * 2 ** (stage - 1)
        width = 4 * inner if options["bottleneck"] else inner
        for index in range(blocks):
            block = f"stage{stage}/block{index}"
            if options["bottleneck"]:
                convolution(block, "conv1", "norm1", 1, before, inner)
                convolution(block, "conv2", "norm2", 3, inner, inner)
                convolution(block, "conv3", "norm3", 1, inner, width)
            else:
                convolution(block, "conv1", "norm1", 3, before, width)
                convolution(block, "conv2", "norm2", 3, width, width)
            if before != width and options.get("shortcut", "B") == "B":
                convolution(block, "projection", "projection_norm", 1, before, width)
            before = width
    dense = "params/head/classifier/dense"
    made[f"{dense}/kernel"] = generator.standard_normal((before, CLASSES)) / np.sqrt(before)
    made[f"{dense}/bias"] = generator.standard_normal(CLASSES)
    return made


def main() -> None:
    """Runs the nets in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional

    def forward(case: str) -> list[list[float]]:
        options = CASES[case]
        shortcut = options.get("shortcut", "B")
        tree = {path: torch.from_numpy(value) for path, value in variables(case).items()}

        def conv_norm(x: torch.Tensor, block: str, name: str, norm: str, stride: int = 1):
            kernel = tree[f"params/{block}/{name}/kernel"].permute(3, 2, 0, 1)
            return functional.batch_norm(
                functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2),
                tree[f"batch_stats/{block}/{norm}/mean"],
                tree[f"batch_stats/{block}/{norm}/var"],
                tree[f"params/{block}/{norm}/scale"],
                tree[f"params/{block}/{norm}/bias"],
                eps=EPSILON,
            )

        def residual(x: torch.Tensor, block: str, stride: int) -> torch.Tensor:
            strides = [stride, 1]
            if options["bottleneck"]:
                first = options.get("stride_on") == "conv1"
                strides = [stride, 1, 1] if first else [1, stride, 1]
            y = x
            for i, step in enumerate(strides, start=1):
                y = functional.relu(y) if i > 1 else y
                y = conv_norm(y, block, f"conv{i}", f"norm{i}", step)
            if shortcut == "none":
                return functional.relu(y)
            if f"params/{block}/projection/kernel" in tree:
                x = conv_norm(x, block, "projection", "projection_norm", stride)
            elif x.shape != y.shape:
                new = y.shape[1] - x.shape[1]
                sides = (0, 0, 0, 0, new // 2, new - new // 2)
                x = functional.pad(x[:, :, ::stride, ::stride], sides)
            return functional.relu(x + y)

        x = torch.from_numpy(images()).permute(0, 3, 1, 2)
        if options.get("small"):
            x = functional.relu(conv_norm(x, "stem", "conv", "norm"))
        else:
            x = functional.relu(conv_norm(x, "stem", "conv", "norm", 2))
            x = functional.max_pool2d(x, 3, 2, 1)
        for stage, blocks in enumerate(options["blocks"], start=1):
            for index in range(blocks):
                stride = 2 if stage > 1 and index == 0 else 1
                x = residual(x, f"stage{stage}/block{index}", stride)
        dense = "params/head/classifier/dense"
        return (x.mean((2, 3)) @ tree[f"{dense}/kernel"] + tree[f"{dense}/bias"]).tolist()

    numbers = {case: forward(case) for case in CASES}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({**numbers, "torch": torch.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main()
