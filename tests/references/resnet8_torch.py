"""Logits of a narrow residual net of 8 layers in PyTorch, in ``resnet8_torch.json``.

    python tests/references/resnet8_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed): in float64, with both
shortcuts and without, with running statistics and with those of the batch. The test takes the
weights and images from here; only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

WIDTH, CLASSES, EPSILON = 4, 3, 1e-5
SHORTCUTS = ("A", "B", "none")


def images() -> np.ndarray:
    """float64 ``[5, 9, 8, 2]``: odd and even, so that the padding of a stride shows."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal((5, 9, 8, 2))


def variables(shortcut: str) -> dict[str, np.ndarray]:
    """Parameters and running statistics by path, float64."""
    generator = np.random.Generator(np.random.PCG64(1))
    made = {}

    def convolution(path: str, size: int, inputs: int, outputs: int) -> None:
        shape = (size, size, inputs, outputs)
        made[f"params/{path}/kernel"] = generator.standard_normal(shape) / np.sqrt(size**2 * inputs)

    def normalization(path: str, channels: int) -> None:
        made[f"params/{path}/scale"] = generator.uniform(0.5, 1.5, channels)
        made[f"params/{path}/bias"] = generator.standard_normal(channels)
        made[f"batch_stats/{path}/mean"] = generator.standard_normal(channels)
        made[f"batch_stats/{path}/var"] = generator.uniform(0.5, 2, channels)

    convolution("stem/conv", 3, 2, WIDTH)
    normalization("stem/norm", WIDTH)
    before = WIDTH
    for stage, width in enumerate((WIDTH, 2 * WIDTH, 4 * WIDTH), start=1):
        block = f"stage{stage}/block0"
        convolution(f"{block}/conv1", 3, before, width)
        normalization(f"{block}/norm1", width)
        convolution(f"{block}/conv2", 3, width, width)
        normalization(f"{block}/norm2", width)
        if shortcut == "B" and width != before:
            convolution(f"{block}/projection", 1, before, width)
            normalization(f"{block}/projection_norm", width)
        before = width
    made["params/head/classifier/dense/kernel"] = generator.standard_normal((before, CLASSES))
    made["params/head/classifier/dense/bias"] = generator.standard_normal(CLASSES)
    return made


def main() -> None:
    """Runs the net in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional

    def forward(tree: dict[str, np.ndarray], shortcut: str, train: bool) -> list[list[float]]:
        def get(path: str) -> torch.Tensor:
            return torch.from_numpy(tree[path])

        def conv(x: torch.Tensor, path: str, stride: int, padding: int) -> torch.Tensor:
            kernel = get(f"params/{path}/kernel").permute(3, 2, 0, 1)
            return functional.conv2d(x, kernel, stride=stride, padding=padding)

        def norm(x: torch.Tensor, path: str) -> torch.Tensor:
            return functional.batch_norm(
                x,
                get(f"batch_stats/{path}/mean").clone(),
                get(f"batch_stats/{path}/var").clone(),
                get(f"params/{path}/scale"),
                get(f"params/{path}/bias"),
                training=train,
                eps=EPSILON,
            )

        x = torch.from_numpy(images()).permute(0, 3, 1, 2)
        x = functional.relu(norm(conv(x, "stem/conv", 1, 1), "stem/norm"))
        for stage in (1, 2, 3):
            block, stride = f"stage{stage}/block0", 1 if stage == 1 else 2
            y = functional.relu(norm(conv(x, f"{block}/conv1", stride, 1), f"{block}/norm1"))
            y = norm(conv(y, f"{block}/conv2", 1, 1), f"{block}/norm2")
            if shortcut == "none":
                x = torch.zeros_like(y)
            elif shortcut == "A" and stride == 2:
                extra = (y.shape[1] - x.shape[1]) // 2
                x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra, extra))
            elif stride == 2:
                x = norm(conv(x, f"{block}/projection", 2, 0), f"{block}/projection_norm")
            x = functional.relu(y + x)
        dense = "params/head/classifier/dense"
        return (x.mean((2, 3)) @ get(f"{dense}/kernel") + get(f"{dense}/bias")).tolist()

    numbers = {
        f"{shortcut}/{mode}": forward(variables(shortcut), shortcut, mode == "train")
        for shortcut in SHORTCUTS
        for mode in ("train", "eval")
    }
    numbers["torch"] = torch.__version__
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
