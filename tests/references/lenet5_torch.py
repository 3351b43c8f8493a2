"""Fifty updates of LeNet-5 in PyTorch: the losses and final norms in ``lenet5_torch.json``.

    python tests/references/lenet5_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed). The test takes the
settings, initial weights and batches from here, so that none needs committing; only ``main``
needs torch.

In float64, so that they hold no rounding of PyTorch. A float32 run of either follows them to 1e-6
until rounding puts a number on the other side of a ReLU's kink; from then on it parts, by up to
some per cents within fifty updates.
"""

import json
import pathlib

import numpy as np

STEPS, BATCH = 50, 32
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.002, 0.9, 5e-4
MEAN, STD = 64.0, 64.0  # of the pixels, 0-255; exact in float32
SHAPES = {
    "stem/conv": (5, 5, 1, 6),
    "stage1/conv": (5, 5, 6, 16),
    "stage2/dense": (400, 120),
    "stage3/dense": (120, 84),
    "head/dense": (84, 10),
}


def weights() -> dict[str, np.ndarray]:
    """Initial parameters, float64: kernels HWIO or ``[in, out]``, biases that are not zero."""
    generator = np.random.Generator(np.random.PCG64(0))
    made = {}
    for layer, shape in SHAPES.items():
        deviation = np.sqrt(2 / np.prod(shape[:-1]))
        made[f"{layer}/kernel"] = deviation * generator.standard_normal(shape)
        made[f"{layer}/bias"] = 0.1 * generator.standard_normal(shape[-1])
    return made


def batches() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits, three times as large: uint8 ``[S, B, 28, 28, 1]`` and labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * 255 / 16).astype(np.uint8)
    images = np.pad(images.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    order = np.random.Generator(np.random.PCG64(1)).permutation(len(images))[: STEPS * BATCH]
    labels = digits.target[order].astype(np.int32)
    return images[order].reshape(STEPS, BATCH, 28, 28, 1), labels.reshape(STEPS, BATCH)


def main() -> None:
    """Trains in PyTorch and writes the numbers."""
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    layers = dict(
        zip(SHAPES, [x for x in network if isinstance(x, nn.Conv2d | nn.Linear)], strict=True)
    )
    for name, value in weights().items():
        layer, kind = name.rsplit("/", 1)
        if kind == "bias":
            layers[layer].bias.data = torch.from_numpy(value)
            continue
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)  # HWIO -> OIHW
        elif layer == "stage2/dense":  # rows in the order of H, W, C -> C, H, W
            value = value.reshape(5, 5, 16, 120).transpose(2, 0, 1, 3).reshape(400, 120).T
        else:
            value = value.T
        layers[layer].weight.data = torch.from_numpy(np.ascontiguousarray(value))

    optimizer = torch.optim.SGD(
        [
            {"params": [x.weight for x in layers.values()], "weight_decay": WEIGHT_DECAY},
            {"params": [x.bias for x in layers.values()], "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        momentum=MOMENTUM,
    )
    losses = []
    for pixels, labels in zip(*batches(), strict=True):
        images = (torch.from_numpy(pixels).double().permute(0, 3, 1, 2) - MEAN) / STD
        loss = nn.functional.cross_entropy(network(images), torch.from_numpy(labels).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    norms = {}
    for name, layer in layers.items():
        norms[f"{name}/kernel"] = layer.weight.norm().item()
        norms[f"{name}/bias"] = layer.bias.norm().item()
    numbers = {"torch": torch.__version__, "losses": losses, "norms": norms}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
