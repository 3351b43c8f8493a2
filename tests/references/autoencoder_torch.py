"""Outputs of narrow autoencoders in PyTorch, and gradients: ``autoencoder_torch.json``.

    python tests/references/autoencoder_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64. The test
takes the weights and images from here; only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

CHANNELS, SIZE = 2, (8, 12)
CONV_WIDTHS, CODE = (3, 5), 4
DENSE_WIDTHS = (7, 5, 3)


def images() -> np.ndarray:
    """float64 ``[3, *SIZE, CHANNELS]``."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal((3, *SIZE, CHANNELS))


def conv_parameters() -> dict[str, np.ndarray]:
    """Of the convolutional one, with a code, by path."""
    maps = SIZE[0] // 4 * SIZE[1] // 4 * CONV_WIDTHS[1]
    shapes = {
        "stem/conv": (4, 4, CHANNELS, CONV_WIDTHS[0]),
        "stage1/conv": (4, 4, *CONV_WIDTHS),
        "stage2/dense": (maps, CODE),
        "up1/dense": (CODE, maps),
        "up2/conv": (4, 4, *CONV_WIDTHS[::-1]),
        "head/conv": (4, 4, CONV_WIDTHS[0], CHANNELS),
    }
    return _made(shapes)


def dense_parameters() -> dict[str, np.ndarray]:
    """Of the tied one, by path: kernels of the encoder, biases of both."""
    pixels = SIZE[0] * SIZE[1] * CHANNELS
    units = (pixels, *DENSE_WIDTHS)
    shapes = {f"stage{i}/dense": (units[i - 1], units[i]) for i in range(1, len(units))}
    made = _made(shapes)
    generator = np.random.Generator(np.random.PCG64(2))
    for i in range(1, len(units)):
        made[f"up{i}/dense/bias"] = generator.standard_normal(units[-1 - i]) / 4
    return made


def _made(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    generator = np.random.Generator(np.random.PCG64(1))
    made = {}
    for path, shape in shapes.items():
        made[f"{path}/kernel"] = generator.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
        made[f"{path}/bias"] = generator.standard_normal(shape[-1]) / 4
    return made


def main() -> None:
    """Runs both in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional

    x = torch.from_numpy(images())

    def convolutional() -> list:
        tree = {path: torch.from_numpy(value) for path, value in conv_parameters().items()}

        def dense(y: torch.Tensor, path: str) -> torch.Tensor:
            return y @ tree[f"{path}/kernel"] + tree[f"{path}/bias"]

        y = x.permute(0, 3, 1, 2)
        for path in ("stem/conv", "stage1/conv"):
            kernel = tree[f"{path}/kernel"].permute(3, 2, 0, 1)
            y = functional.relu(functional.conv2d(y, kernel, tree[f"{path}/bias"], 2, 1))
        shape = y.permute(0, 2, 3, 1).shape
        y = dense(y.permute(0, 2, 3, 1).flatten(1), "stage2/dense")
        y = functional.relu(dense(y, "up1/dense")).reshape(shape).permute(0, 3, 1, 2)
        for path in ("up2/conv", "head/conv"):
            kernel = tree[f"{path}/kernel"].permute(2, 3, 0, 1)
            y = functional.conv_transpose2d(y, kernel, tree[f"{path}/bias"], 2, 1)
            y = functional.relu(y) if path == "up2/conv" else y
        return y.permute(0, 2, 3, 1).tolist()

    def tied() -> tuple[list, dict[str, list]]:
        tree = {path: torch.from_numpy(value) for path, value in dense_parameters().items()}
        for value in tree.values():
            value.requires_grad_()
        depth = len(DENSE_WIDTHS)
        y = x.flatten(1)
        for i in range(1, depth + 1):
            y = y @ tree[f"stage{i}/dense/kernel"] + tree[f"stage{i}/dense/bias"]
            y = torch.sigmoid(y) if i < depth else y
        for i in range(1, depth + 1):
            y = y @ tree[f"stage{depth + 1 - i}/dense/kernel"].T + tree[f"up{i}/dense/bias"]
            y = torch.sigmoid(y) if i < depth else y
        y = y.reshape(x.shape)
        ((y - x) ** 2).mean().backward()
        norms = {path: value.grad.norm().item() for path, value in tree.items()}
        return y.tolist(), norms

    numbers = {"torch": torch.__version__, "convolutional": convolutional()}
    numbers["tied"], numbers["gradient norms"] = tied()
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
