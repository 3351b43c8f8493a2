"""Files that PyTorch wrote, and the logits of a narrow VGG-11, in ``weights_torch.json``.

    python tests/references/weights_torch.py

writes both anew (torch 2.13.0 on a CPU made those that are committed). The tests take the tensors,
weights and images from here; only ``main`` needs torch. The net is torchvision's vgg11_bn with 1,
2, 4, 8 and 8 maps and dense layers of 5 and 4 units, for 64 x 64 pixels: after the convolutions
2 x 2 places are left, so that the order of the axes in the flatten shows.
"""

import base64
import io
import json
import pathlib

import numpy as np

MAPS = (1, 2, 4, 4, 8, 8, 8, 8)
POOLED = (0, 1, 3, 5, 7)
DENSE = (8 * 2 * 2, 5, 4, 3)


def tensors() -> dict[str, np.ndarray]:
    """The arrays in the files: float32 (one storage), transposed, cut out; half; int64; scalar."""
    row = np.arange(24, dtype=np.float32).reshape(4, 6)
    return {
        "plain": row,
        "transposed": row.T,
        "cut": row[1:, 2],
        "channels_last": np.arange(16, dtype=np.float32).reshape(1, 2, 2, 4).transpose(0, 3, 1, 2),
        "half": np.float16([0.5, -1.5]),
        "bfloat16": np.float32([1.5, -2.0]),
        "whole": np.int64([1, -(2**40)]),
        "scalar": np.float64(2.5),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": np.float32([[1], [2]]),
    }


def images() -> np.ndarray:
    """float32 ``[2, 64, 64, 3]``."""
    generator = np.random.Generator(np.random.PCG64(0))
    return generator.standard_normal((2, 64, 64, 3)).astype(np.float32)


def state_dict() -> dict[str, np.ndarray]:
    """The weights of the net by torchvision's names, float32."""
    generator = np.random.Generator(np.random.PCG64(1))
    made: dict[str, np.ndarray] = {}
    place, before = 0, 3
    for i, maps in enumerate(MAPS):
        made[f"features.{place}.weight"] = generator.standard_normal((maps, before, 3, 3)) / 3
        made[f"features.{place}.bias"] = generator.standard_normal(maps)
        norm = f"features.{place + 1}"
        made[f"{norm}.weight"] = generator.uniform(0.5, 1.5, maps)
        made[f"{norm}.bias"] = generator.uniform(0, 1, maps)
        made[f"{norm}.running_mean"] = generator.standard_normal(maps)
        made[f"{norm}.running_var"] = generator.uniform(0.5, 2, maps)
        made[f"{norm}.num_batches_tracked"] = np.int64(7)
        place, before = place + 3 + (i in POOLED), maps
    for place, inputs, outputs in zip((0, 3, 6), DENSE[:-1], DENSE[1:], strict=True):
        made[f"classifier.{place}.weight"] = generator.standard_normal((outputs, inputs))
        made[f"classifier.{place}.bias"] = generator.standard_normal(outputs)
    return {k: v if v.dtype == np.int64 else v.astype(np.float32) for k, v in made.items()}


def main() -> None:
    """Writes the files and runs the net in PyTorch."""
    import torch
    from torch import nn

    held = {k: torch.from_numpy(np.array(v)) for k, v in tensors().items()}
    row = held["plain"]
    held |= {"transposed": row.T, "cut": row[1:, 2], "bfloat16": held["bfloat16"].bfloat16()}
    held["channels_last"] = held["channels_last"].contiguous(memory_format=torch.channels_last)
    held["parameter"] = nn.Parameter(held["parameter"])
    numbers = {}
    for name, zipped in (("zip", True), ("stream", False)):
        file = io.BytesIO()
        saved = {"state_dict": held, "epoch": 3, "device": torch.device("cpu")}
        torch.save(saved, file, _use_new_zipfile_serialization=zipped)
        numbers[name] = base64.b64encode(file.getvalue()).decode()

    features: list[nn.Module] = []
    before = 3
    for i, maps in enumerate(MAPS):
        features += [nn.Conv2d(before, maps, 3, padding=1), nn.BatchNorm2d(maps), nn.ReLU()]
        features += [nn.MaxPool2d(2)] if i in POOLED else []
        before = maps
    a, b, c, d = DENSE
    classifier = [nn.Linear(a, b), nn.ReLU(), nn.Dropout(), nn.Linear(b, c), nn.ReLU()]
    classifier += [nn.Dropout(), nn.Linear(c, d)]
    net = nn.Sequential()
    net.features = nn.Sequential(*features)
    net.flatten = nn.Flatten()
    net.classifier = nn.Sequential(*classifier)
    net.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state_dict().items()})
    with torch.no_grad():
        logits = net.double().eval()(torch.from_numpy(images().transpose(0, 3, 1, 2)).double())
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers | {"logits": logits.tolist()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
