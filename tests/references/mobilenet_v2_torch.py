"""torchvision's MobileNetV2, a quarter as wide: the numbers in ``mobilenet_v2_torch.json``.

    python tests/references/mobilenet_v2_torch.py

writes the numbers anew (torchvision 0.28.0 on torch 2.13.0 and a CPU made those that are
committed): the names and shapes of its weights, and the logits of two images in evaluation. The
test takes images and weights from here; only ``main`` needs torchvision.
"""

import json
import pathlib

import numpy as np

WIDTH, CLASSES = 0.25, 5


def images() -> np.ndarray:
    """float32 ``[N, H, W, C]``."""
    generator = np.random.Generator(np.random.PCG64(0))
    return generator.standard_normal((2, 64, 48, 3)).astype(np.float32)


def weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Numbers for every name, such that no layer dies out."""
    generator = np.random.Generator(np.random.PCG64(1))
    arrays = {}
    for name, shape in shapes.items():
        values = generator.standard_normal(shape)
        if name.endswith("num_batches_tracked"):
            arrays[name] = np.asarray(7)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            arrays[name] = (1 + 0.3 * np.abs(values)).astype(np.float32)
        elif len(shape) > 1:
            arrays[name] = (values * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        else:
            arrays[name] = (0.1 * values).astype(np.float32)
    return arrays


def main() -> None:
    """Runs the network and writes the numbers."""
    import torch
    import torchvision

    network = torchvision.models.mobilenet_v2(width_mult=WIDTH, num_classes=CLASSES).eval()
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    values = {name: torch.from_numpy(each) for name, each in weights(shapes).items()}
    network.load_state_dict(values)
    with torch.no_grad():
        logits = network(torch.from_numpy(images()).permute(0, 3, 1, 2))
    versions = f"torchvision {torchvision.__version__}, torch {torch.__version__}"
    numbers = {"versions": versions, "shapes": shapes, "logits": logits.tolist()}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
