"""Logits of a narrow U-Net, and the size of the published one, in PyTorch: ``unet_torch.json``.

    python tests/references/unet_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64. The test
takes the weights and images from here; only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

WIDTH, DEPTH, CLASSES, CHANNELS = 2, 2, 3, 2
CASES = {"VALID": (46, 44), "SAME": (11, 14)}  # sizes; odd ones, so that the border shows


def images(padding: str) -> np.ndarray:
    """float64 ``[2, H, W, CHANNELS]``."""
    shape = (2, *CASES[padding], CHANNELS)
    return np.random.Generator(np.random.PCG64(0)).standard_normal(shape)


def parameters() -> dict[str, np.ndarray]:
    """Parameters by path, float64."""
    generator = np.random.Generator(np.random.PCG64(1))
    made = {}

    def layer(path: str, size: int, inputs: int, outputs: int) -> None:
        shape = (size, size, inputs, outputs)
        made[f"{path}/kernel"] = generator.standard_normal(shape) / np.sqrt(size**2 * inputs / 2)
        made[f"{path}/bias"] = generator.standard_normal(outputs) / 4

    before = CHANNELS
    for level in range(DEPTH + 1):
        stage, width = f"stage{level}" if level else "stem", WIDTH * 2**level
        layer(f"{stage}/conv1", 3, before, width)
        layer(f"{stage}/conv2", 3, width, width)
        before = width
    for index in range(1, DEPTH + 1):
        width = before // 2
        layer(f"up{index}/up", 2, before, width)
        layer(f"up{index}/conv1", 3, before, width)
        layer(f"up{index}/conv2", 3, width, width)
        before = width
    layer("head/conv", 1, before, CLASSES)
    return made


def published(channels: int, classes: int) -> int:
    """Trainable numbers of the published network, made of PyTorch's layers."""
    from torch import nn

    layers: list[nn.Module] = []
    widths = [64, 128, 256, 512, 1024]
    for before, width in zip([channels, *widths], widths, strict=False):
        layers += [nn.Conv2d(before, width, 3), nn.Conv2d(width, width, 3)]
    for width in widths[-2::-1]:
        layers += [nn.ConvTranspose2d(2 * width, width, 2, stride=2)]
        layers += [nn.Conv2d(2 * width, width, 3), nn.Conv2d(width, width, 3)]
    layers += [nn.Conv2d(64, classes, 1)]
    return sum(each.numel() for layer in layers for each in layer.parameters())


def main() -> None:
    """Runs the net in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional

    tree = {path: torch.from_numpy(value) for path, value in parameters().items()}

    def conv(x: torch.Tensor, path: str, padding: int) -> torch.Tensor:
        kernel = tree[f"{path}/kernel"].permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, tree[f"{path}/bias"], padding=padding)

    def convs(x: torch.Tensor, stage: str, padding: int) -> torch.Tensor:
        x = functional.relu(conv(x, f"{stage}/conv1", padding))
        return functional.relu(conv(x, f"{stage}/conv2", padding))

    def forward(kind: str) -> list:
        padding = 1 if kind == "SAME" else 0
        x = convs(torch.from_numpy(images(kind)).permute(0, 3, 1, 2), "stem", padding)
        skips = []
        for level in range(1, DEPTH + 1):
            skips.append(x)
            x = convs(functional.max_pool2d(x, 2), f"stage{level}", padding)
        for index in range(1, DEPTH + 1):
            kernel = tree[f"up{index}/up/kernel"].permute(2, 3, 0, 1)
            x = functional.conv_transpose2d(x, kernel, tree[f"up{index}/up/bias"], stride=2)
            skip = skips.pop()
            more = [skip.shape[axis] - x.shape[axis] for axis in (2, 3)]
            first = [m // 2 for m in more]
            if kind == "SAME":
                x = functional.pad(x, (first[1], more[1] - first[1], first[0], more[0] - first[0]))
            else:
                skip = skip[:, :, first[0] :, first[1] :][:, :, : x.shape[2], : x.shape[3]]
            x = convs(torch.cat([skip, x], 1), f"up{index}", padding)
        return conv(x, "head/conv", 0).permute(0, 2, 3, 1).tolist()

    numbers: dict[str, object] = {"torch": torch.__version__}
    for kind in CASES:
        numbers[kind] = forward(kind)
    numbers["published"] = {"1 to 2": published(1, 2), "1 to 1": published(1, 1)}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
