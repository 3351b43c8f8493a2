"""Logits of SqueezeNet 1.0 in PyTorch, in ``squeezenet_torch.json``.

    python tests/references/squeezenet_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64, at full
width, without and with padding of the last convolution. The test takes the weights and images from
here; only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

CLASSES = 8
HEAD_PADDINGS = (0, 1)
# Stage, module, inputs, squeezed maps, expanded maps of either size.
FIRES = (
    ("stage1", "fire2", 96, 16, 64),
    ("stage1", "fire3", 128, 16, 64),
    ("stage1", "fire4", 128, 32, 128),
    ("stage2", "fire5", 256, 32, 128),
    ("stage2", "fire6", 256, 48, 192),
    ("stage2", "fire7", 384, 48, 192),
    ("stage2", "fire8", 384, 64, 256),
    ("stage3", "fire9", 512, 64, 256),
)


def images() -> np.ndarray:
    """float64 ``[1, 77, 57, 3]``: every pooling has rows or columns that only rounding up keeps."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal((1, 77, 57, 3))


def variables() -> dict[str, np.ndarray]:
    """Parameters by path, float64."""
    generator = np.random.Generator(np.random.PCG64(1))
    made = {}

    def layer(path: str, *shape: int) -> None:
        deviation = np.sqrt(2 / np.prod(shape[:-1]))
        made[f"params/{path}/kernel"] = deviation * generator.standard_normal(shape)
        made[f"params/{path}/bias"] = 0.3 * generator.standard_normal(shape[-1])

    layer("stem/conv", 7, 7, 3, 96)
    for stage, fire, inputs, squeezed, expanded in FIRES:
        layer(f"{stage}/{fire}/squeeze", 1, 1, inputs, squeezed)
        layer(f"{stage}/{fire}/expand1", 1, 1, squeezed, expanded)
        layer(f"{stage}/{fire}/expand3", 3, 3, squeezed, expanded)
    layer("head/conv", 1, 1, 512, CLASSES)
    return made


def main() -> None:
    """Runs the net in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional

    tree = {path: torch.from_numpy(value) for path, value in variables().items()}

    def conv(x: torch.Tensor, path: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        kernel = tree[f"params/{path}/kernel"].permute(3, 2, 0, 1)
        return functional.relu(
            functional.conv2d(x, kernel, tree[f"params/{path}/bias"], stride, padding)
        )

    def pool(x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    x = pool(conv(torch.from_numpy(images()).permute(0, 3, 1, 2), "stem/conv", 2))
    for stage, fire, *_ in FIRES:
        path = f"{stage}/{fire}"
        x = conv(x, f"{path}/squeeze")
        x = torch.cat([conv(x, f"{path}/expand1"), conv(x, f"{path}/expand3", padding=1)], 1)
        if fire in ("fire4", "fire8"):
            x = pool(x)
    numbers = {
        str(padding): conv(x, "head/conv", padding=padding).mean((2, 3)).tolist()
        for padding in HEAD_PADDINGS
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({**numbers, "torch": torch.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main()
