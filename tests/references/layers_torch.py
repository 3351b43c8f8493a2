"""Single layers in PyTorch, forward and backward: the numbers in ``layers_torch.json``.

    python tests/references/layers_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed), in float64. The tests
take inputs, kernels and the weights of the loss ``sum(weights * layer(x))`` from here; only
``main`` needs torch. Images are [N, H, W, C] and kernels [kh, kw, C, F] on both sides.
"""

import json
import pathlib
from typing import Any

import numpy as np

# name: size, kernel, strides, padding, output_padding; two channels to three
TRANSPOSED: dict[str, tuple[Any, ...]] = {
    "stride 1": ((4, 5), (3, 3), (1, 1), 1, 0),
    "stride 1, padded by all of the kernel": ((4, 5), (2, 2), (1, 1), 2, 0),
    "tiles": ((3, 4), (2, 2), (2, 2), 0, 0),
    "stride 2": ((3, 4), (3, 3), (2, 2), 1, 1),
    "stride 2, the smaller size": ((3, 4), (3, 3), (2, 2), 1, 0),
    "stride 2 of 4 x 4": ((3, 3), (4, 4), (2, 2), 1, 0),
    "stride 3": ((3, 2), (5, 4), (3, 3), 2, 2),
    "gaps": ((2, 3), (1, 2), (3, 3), 0, 1),
    "one pixel": ((1, 1), (3, 2), (2, 2), 0, 1),
    "uneven": ((3, 4), (3, 2), (1, 3), 1, 0),
}

NORMS = ("batch", "layer", "group", "instance")
NORM_SHAPE, GROUPS = (3, 2, 3, 6), 3

# name: size, alpha, beta, k; alpha is the paper's, not divided by the size
RESPONSE: dict[str, tuple[int, float, float, float]] = {
    "paper": (5, 1e-4, 0.75, 2.0),
    "strong": (5, 0.4, 0.75, 2.0),
    "three": (3, 0.7, 0.5, 1.0),
    "even": (4, 0.3, 1.0, 0.5),
}
RESPONSE_SHAPE = (1, 2, 2, 7)

ACTIVATIONS = (
    *("sigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "identity"),
)

# name: size, window, strides, padding, ceil
MAX_POOLS: dict[str, tuple[Any, ...]] = {
    "odd": ((7, 5), (2, 2), (2, 2), 0, False),
    "odd, ceil": ((7, 5), (2, 2), (2, 2), 0, True),
    "overlap": ((8, 7), (3, 3), (2, 2), 0, False),
    "overlap, ceil": ((8, 7), (3, 3), (2, 2), 0, True),
    "padded": ((6, 7), (3, 3), (2, 2), 1, False),
    "padded, ceil": ((6, 7), (3, 3), (2, 2), 1, True),
    "ceil would begin in the padding": ((3, 5), (2, 2), (2, 2), 1, True),
    "uneven, ceil": ((5, 8), (3, 2), (2, 3), 1, True),
    "smaller than the window, ceil": ((2, 2), (3, 3), (2, 2), 0, True),
    "gaps, ceil": ((6, 8), (2, 2), (3, 4), 0, True),
}
AVERAGE_POOLS: dict[str, tuple[Any, ...]] = {
    "odd": ((7, 5), (2, 2), (2, 2), 0),
    "overlap": ((8, 7), (3, 3), (2, 2), 0),
    "padded": ((6, 7), (3, 2), (2, 1), 1),
}


def normals(seed: int, *shape: int) -> np.ndarray:
    """Standard normal numbers, float64."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)


def weights(*shape: int) -> np.ndarray:
    """Factors of a layer's output in the sum that is the loss."""
    return normals(99, *shape)


def transposed(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and kernel."""
    size, window = TRANSPOSED[name][:2]
    return normals(0, 2, *size, 2), normals(1, *window, 2, 3)


def norm() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of another mean and deviation in every channel; scale and bias."""
    channels = NORM_SHAPE[-1]
    x = normals(2, *NORM_SHAPE) * (1 + np.arange(channels)) + normals(3, channels)
    return x, normals(4, channels), normals(5, channels)


def activation() -> np.ndarray:
    """From far below zero to far above, without the kink."""
    return np.concatenate([[-40.0, -8.0, -1e-3, 1e-3, 8.0, 40.0], 2 * normals(6, 20)])


def pool(size: tuple[int, int]) -> np.ndarray:
    """Images of two channels, all numbers different and most below zero."""
    return normals(7, 1, *size, 2) - 2


def main() -> None:
    """Runs the layers and writes the numbers."""
    import torch
    from torch.nn import functional

    def run(function: Any, *inputs: np.ndarray) -> dict[str, Any]:
        """Output and gradients; images go in and come out as [N, H, W, C]."""
        leaves = [torch.from_numpy(each).requires_grad_() for each in inputs]
        y = function(*leaves)
        (y * torch.from_numpy(weights(*y.shape))).sum().backward()
        gradients = [leaf.grad for leaf in leaves]
        return {
            "y": [float(f"{number:.13g}") for number in y.flatten().tolist()],
            "shape": list(y.shape),
            "gradients": [[float(f"{n:.13g}") for n in g.flatten().tolist()] for g in gradients],
        }

    def channels_last(function: Any) -> Any:
        def wrapped(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
            return function(x.permute(0, 3, 1, 2), *others).permute(0, 2, 3, 1)

        return wrapped

    def conv_transpose(strides: tuple[int, int], padding: int, output_padding: int) -> Any:
        return lambda x, kernel: functional.conv_transpose2d(
            x,
            kernel.permute(2, 3, 0, 1),  # [C, F, kh, kw]
            stride=strides,
            padding=padding,
            output_padding=output_padding,
        )

    def layer_norm(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        shape = x.shape[1:]
        wide = [each[:, None, None].expand(shape) for each in (scale, bias)]
        return functional.layer_norm(x, shape, *wide)

    norms = {
        "batch": lambda x, s, b: functional.batch_norm(x, None, None, s, b, training=True),
        "layer": layer_norm,
        "group": lambda x, s, b: functional.group_norm(x, GROUPS, s, b),
        "instance": lambda x, s, b: functional.instance_norm(x, weight=s, bias=b),
    }
    activations = {
        **{name: getattr(functional, name) for name in ACTIVATIONS if hasattr(functional, name)},
        "identity": torch.nn.Identity(),
    }

    def response(size: int, alpha: float, beta: float, k: float) -> Any:
        return lambda x: functional.local_response_norm(x, size, alpha * size, beta, k)

    def max_pool(
        window: tuple[int, int], strides: tuple[int, int], padding: int, ceil: bool
    ) -> Any:
        return lambda x: functional.max_pool2d(x, window, strides, padding, ceil_mode=ceil)

    def average_pool(window: tuple[int, int], strides: tuple[int, int], padding: int) -> Any:
        return lambda x: functional.avg_pool2d(x, window, strides, padding)

    numbers = {
        "torch": torch.__version__,
        "transposed": {
            name: run(channels_last(conv_transpose(*options)), *transposed(name))
            for name, (_, _, *options) in TRANSPOSED.items()
        },
        "norm": {name: run(channels_last(norms[name]), *norm()) for name in NORMS},
        "response": {
            name: run(channels_last(response(*options)), normals(8, *RESPONSE_SHAPE))
            for name, options in RESPONSE.items()
        },
        "activation": {name: run(activations[name], activation()) for name in ACTIVATIONS},
        "max_pool": {
            name: run(channels_last(max_pool(*options)), pool(size))
            for name, (size, *options) in MAX_POOLS.items()
        },
        "average_pool": {
            name: run(channels_last(average_pool(*options)), pool(size))
            for name, (size, *options) in AVERAGE_POOLS.items()
        },
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
