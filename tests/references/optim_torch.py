"""Ten updates of a kernel and a bias by PyTorch's optimisers, in ``optim_torch.json``.

    python tests/references/optim_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64. The test
takes start, gradients and settings from here; only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

STEPS, LEARNING_RATE, WEIGHT_DECAY, CLIP = 10, 0.01, 0.1, 1.5
SETTINGS = {
    "sgd": {"momentum": 0.9},
    "sgd without momentum": {"momentum": 0.0},
    "nesterov": {"momentum": 0.9},
    "adam": {"momentum": 0.8},
    "adamw": {"momentum": 0.9},
}


def start() -> dict[str, np.ndarray]:
    """The first parameters, float64."""
    generator = np.random.Generator(np.random.PCG64(0))
    return {"kernel": generator.standard_normal((3, 2)), "bias": generator.standard_normal(2)}


def gradients() -> list[dict[str, np.ndarray]]:
    """One gradient a step, float64; some norms lie over ``CLIP`` and some under it."""
    generator = np.random.Generator(np.random.PCG64(1))
    return [
        {
            "kernel": generator.standard_normal((3, 2)) * size,
            "bias": generator.standard_normal(2) * size,
        }
        for size in np.geomspace(0.1, 3, STEPS)
    ]


def main() -> None:
    """Runs PyTorch's optimisers and writes the numbers."""
    import torch

    def run(name: str, momentum: float, clip: float | None) -> dict[str, list]:
        params = {key: torch.nn.Parameter(torch.from_numpy(v)) for key, v in start().items()}
        groups = [
            {"params": [params["kernel"]], "weight_decay": WEIGHT_DECAY},
            {"params": [params["bias"]], "weight_decay": 0.0},
        ]
        if name.startswith("adam"):
            make = torch.optim.Adam if name == "adam" else torch.optim.AdamW
            optimizer = make(groups, lr=LEARNING_RATE, betas=(momentum, 0.999), eps=1e-8)
        else:
            optimizer = torch.optim.SGD(
                groups, lr=LEARNING_RATE, momentum=momentum, nesterov=name == "nesterov"
            )
        for each in gradients():
            for key, value in each.items():
                params[key].grad = torch.from_numpy(value.copy())
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(list(params.values()), clip)
            optimizer.step()
        return {key: value.tolist() for key, value in params.items()}

    numbers = {"torch": torch.__version__}
    for name, setting in SETTINGS.items():
        numbers[name] = run(name, setting["momentum"], None)
        numbers[f"{name} clipped"] = run(name, setting["momentum"], CLIP)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
