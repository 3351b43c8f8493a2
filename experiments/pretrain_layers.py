"""Layers that were pretrained, on the disk, so that a resume goes on from the same bits."""

import io
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnlab.transfer.stacking import Stack


def keep(path: pathlib.Path, stack: "Stack", seconds: float) -> None:
    """Writes the layers and the seconds that they took, atomically."""
    import numpy as np

    from cnnlab.train.recorder import first_process
    from cnnlab.train.records import write_bytes

    if not first_process():
        return
    arrays: dict[str, Any] = {"errors": np.asarray(stack.errors), "seconds": np.float64(seconds)}
    for index, layer in enumerate(stack.layers):
        for name, leaf in layer._asdict().items():
            arrays[f"{name}{index}"] = np.asarray(leaf)
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def kept(path: pathlib.Path) -> tuple["Stack", float]:
    """What ``keep`` wrote."""
    import numpy as np

    from cnnlab.transfer.rbm import Machine
    from cnnlab.transfer.stacking import Stack

    with np.load(path) as arrays:
        layers = tuple(
            Machine(*(arrays[f"{name}{index}"] for name in Machine._fields))
            for index in range(len(arrays["errors"]))
        )
        return Stack(layers, arrays["errors"]), float(arrays["seconds"])
