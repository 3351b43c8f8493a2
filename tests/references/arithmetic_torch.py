"""Sizes that PyTorch's convolutions and poolings give, in ``arithmetic_torch.json``.

    python tests/references/arithmetic_torch.py

writes the numbers anew (torch 2.13.0 on a CPU made those that are committed). The test takes the
settings from here; only ``main`` needs torch.
"""

import itertools
import json
import pathlib

SIZES = range(1, 13)
WINDOWS = [
    {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    for kernel, stride, padding, dilation in itertools.product(
        (1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (1, 2)
    )
]


def main() -> None:
    """Asks PyTorch for the size of every case; None where it refuses."""
    import torch
    from torch.nn import functional

    def size(function, *args, **options) -> int | None:
        try:
            return int(function(*args, **options).shape[-1])
        except RuntimeError:
            return None

    numbers: dict[str, object] = {"torch": torch.__version__}
    results: dict[str, list] = {"convolution": [], "pooling": [], "ceil": [], "transposed": []}
    for window in WINDOWS:
        kernel, options = window["kernel"], {k: v for k, v in window.items() if k != "kernel"}
        weight = torch.zeros(1, 1, kernel)
        rows: dict[str, list] = {name: [] for name in results}
        for n in SIZES:
            x = torch.zeros(1, 1, n)
            rows["convolution"].append(size(functional.conv1d, x, weight, **options))
            for name in ("pooling", "ceil"):
                pool = functional.max_pool1d
                rows[name].append(size(pool, x, kernel, ceil_mode=name == "ceil", **options))
            more = options["stride"] - 1
            rows["transposed"].append(
                size(functional.conv_transpose1d, x, weight, output_padding=more, **options)
            )
        for name, row in rows.items():
            results[name].append(row)
    numbers.update(results)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
