"""Logits of narrow AlexNets in PyTorch, in ``alexnet_torch.json``.

    python tests/references/alexnet_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64: with the
paper's two columns and response normalisation, with one column, and in torchvision's form. The
test takes the weights and images from here; only ``main`` needs torch.
"""

import json
import pathlib

import numpy as np

WIDTHS, HIDDEN, CLASSES = (8, 12, 10, 14, 6), (9, 11), 4
CASES = {
    "columns": {"groups": 2, "norm": "lrn", "stem_padding": 0, "size": (103, 99)},
    "one": {"groups": 1, "norm": "lrn", "stem_padding": 0, "size": (103, 99)},
    "torchvision": {"groups": 1, "norm": "none", "stem_padding": 2, "size": (96, 100)},
}
POOLED = (2, 2)  # what is left of the images before the dense layers, in every case


def images(case: str) -> np.ndarray:
    """float64 ``[2, H, W, 3]``."""
    shape = (2, *CASES[case]["size"], 3)
    return 3 * np.random.Generator(np.random.PCG64(0)).standard_normal(shape)


def variables(case: str) -> dict[str, np.ndarray]:
    """Parameters by path, float64, large enough that the response normalisation shows."""
    generator = np.random.Generator(np.random.PCG64(1))
    made = {}

    def layer(path: str, *shape: int) -> None:
        deviation = 3 / np.sqrt(np.prod(shape[:-1]))
        made[f"params/{path}/kernel"] = deviation * generator.standard_normal(shape)
        made[f"params/{path}/bias"] = generator.standard_normal(shape[-1])

    groups = CASES[case]["groups"]
    one, two, three, four, five = WIDTHS
    layer("stem/conv", 11, 11, 3, one)
    layer("stage1/conv", 5, 5, one // groups, two)
    layer("stage2/conv", 3, 3, two, three)
    layer("stage3/conv", 3, 3, three // groups, four)
    layer("stage4/conv", 3, 3, four // groups, five)
    layer("stage6/dense", POOLED[0] * POOLED[1] * five, HIDDEN[0])
    layer("stage7/dense", *HIDDEN)
    layer("head/dense", HIDDEN[1], CLASSES)
    return made


def main() -> None:
    """Runs the nets in PyTorch and writes the numbers."""
    import torch
    from torch.nn import functional

    def forward(case: str) -> list[list[float]]:
        options, tree = CASES[case], variables(case)

        def get(path: str) -> torch.Tensor:
            return torch.from_numpy(tree[f"params/{path}"])

        def conv(x: torch.Tensor, stage: str, padding: int, stride: int = 1, groups: int = 1):
            kernel = get(f"{stage}/conv/kernel").permute(3, 2, 0, 1)
            bias = get(f"{stage}/conv/bias")
            x = functional.conv2d(x, kernel, bias, stride, padding, groups=groups)
            return functional.relu(x)

        def normed(x: torch.Tensor) -> torch.Tensor:
            if options["norm"] == "none":
                return x
            # PyTorch divides alpha by the size of the window; the paper does not.
            return functional.local_response_norm(x, 5, alpha=5 * 1e-4, beta=0.75, k=2.0)

        def pool(x: torch.Tensor) -> torch.Tensor:
            return functional.max_pool2d(x, 3, 2)

        groups = options["groups"]
        x = torch.from_numpy(images(case)).permute(0, 3, 1, 2)
        x = conv(x, "stem", options["stem_padding"], stride=4)
        x = conv(pool(normed(x)), "stage1", 2, groups=groups)
        x = conv(pool(normed(x)), "stage2", 1)
        x = conv(x, "stage3", 1, groups=groups)
        x = pool(conv(x, "stage4", 1, groups=groups))
        assert x.shape[2:] == POOLED
        x = x.permute(0, 2, 3, 1).flatten(1)
        for stage in ("stage6", "stage7"):
            x = functional.relu(x @ get(f"{stage}/dense/kernel") + get(f"{stage}/dense/bias"))
        return (x @ get("head/dense/kernel") + get("head/dense/bias")).tolist()

    numbers = {case: forward(case) for case in CASES}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({**numbers, "torch": torch.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main()
