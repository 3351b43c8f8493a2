"""Export a trained network: its weights as safetensors, or all of it as one program.

    python -m experiments.export runs/digits-resnet8-1 resnet8.safetensors
    python -m experiments.export runs/digits-resnet8-1 resnet8.stablehlo

The weights are read by ``models.weights.load`` or any reader of safetensors. The file's metadata
say all that its use needs: the model with its options and precision, the shape and the
normalization of images, the names of the classes, and the settings of the data (no path). So
``classify --weights FILE``, ``evaluate --weights FILE``, ``features``, ``probe`` and ``finetune``
need no other option, and refuse one that contradicts the file.

The program takes uint8 images ``[n, H, W, C]``, any number of them, normalises them as in training
and gives logits ``[n, K]``; it needs jax alone: ``models.weights.load_exported(FILE)(images)``, or
``jax.export.deserialize(bytearray(file.read())).call(images)``. docs/zoo.md says why not ONNX.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
