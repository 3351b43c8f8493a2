"""U-Nets whose encoder is initialised from a classifier, and the masks that they predict.

The stages of a U-Net's encoder are named as those of a classifier. Followed by a pooled head they
are a classifier, which is trained on labels, and labels are cheap. Its stages then initialise the
encoder of a U-Net that is trained on few masks.

    network = encoder_classifier(models.create("unet", 11), num_classes=10)
    ...                                             # train it: states [M, ...]
    states, report = with_encoders(classifiers, recipe, fresh)
    predictions = predict_masks(recipe, states, test)

Source: Iglovikov & Shvets, TernausNet, arXiv 1801.05746, 2018.
"""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh

from cnnlab.data.dataset import Dataset
from cnnlab.models import Network
from cnnlab.models.network import activations
from cnnlab.models.perceptron import Classifier
from cnnlab.models.pooling import global_average_pool
from cnnlab.train import predict
from cnnlab.train.state import Recipe, TrainState
from cnnlab.transfer.surgery import Report, transplant_each


class EncoderHead(nn.Module):
    """``(x, skips)``, as a U-Net's encoder returns it, to logits: pooling of x and a dense layer.

    The parameters are named as those of ``resnet_cifar.PooledClassifier``.
    """

    num_classes: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, inputs: Any, *, train: bool = False) -> jax.Array:
        """``(x [N, H, W, C], skips) -> float32 [N, num_classes]``."""
        x = global_average_pool(activations(inputs))
        return Classifier(self.num_classes, self.dtype, name="classifier")(x, train=train)


def encoder_stages(network: Network) -> tuple[str, ...]:
    """The stages of a U-Net's encoder, the stem first.

    Raises:
      ValueError: if the network is no U-Net.
    """
    names = network.names
    if names[0] != "stem" or "up1" not in names or "stage1" not in names:
        raise ValueError(
            "the network must be a U-Net, whose stages are stem, stage1 … up1 … head; got the "
            f"stages {', '.join(names)}."
        )
    return names[: names.index("up1")]


def encoder_classifier(network: Network, num_classes: int) -> Network:
    """The encoder of a U-Net with a pooled head: a classifier to initialise U-Nets from.

    Args:
      network: a U-Net.
      num_classes: the number of classes of images.

    Raises:
      ValueError: if the network is no U-Net.
    """
    wanted = encoder_stages(network)
    stages = tuple(stage for stage in network.stages if stage[0] in wanted)
    dtype = getattr(network.stages[-1][1], "dtype", None)
    return Network((*stages, ("head", EncoderHead(num_classes, dtype))))


def with_encoders(
    classifiers: TrainState, recipe: Recipe, fresh: TrainState, *, mesh: Mesh | None = None
) -> tuple[TrainState, Report]:
    """Initial states of U-Nets, the encoder of each from a classifier of its own.

    Args:
      classifiers: states ``[M, ...]`` of ``encoder_classifier``; their moving averages where they
        have some.
      recipe: how the U-Nets will be trained; with ``rates``, the optimizer has trainable parameters
        only.
      fresh: states ``[M, ...]`` of newly initialised U-Nets, whose other stages are kept.
      mesh: ``make_mesh(M)`` by default.

    Returns:
      States ``[M, ...]`` at step 0, and the report of what was copied.

    Raises:
      SurgeryError: if they are classifiers of another encoder.
      ValueError: if there are not as many classifiers as U-Nets.
    """
    return transplant_each(classifiers, recipe, fresh, encoder_stages(recipe.network), mesh=mesh)


def predict_masks(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    *,
    batch_size: int = 32,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """The most likely class of each pixel: uint8 ``[M, N, H', W']``.

    Args:
      recipe: of the U-Net.
      states: ``[M, ...]``.
      dataset: its images are the inputs; its masks are not used.
      batch_size: images at a time; the logits of at most sixteen batches are held in memory.
      mesh: all devices by default.

    Raises:
      ValueError: for more classes than a uint8 can hold.
    """
    masks = []
    step = min(16 * batch_size, len(dataset))
    for start in range(0, len(dataset), step):
        # The last part repeats an image, so that it is as long and nothing is compiled again.
        part = dataset.take(np.minimum(np.arange(start, start + step), len(dataset) - 1))
        logits = predict(recipe, states, part, batch_size=batch_size, mesh=mesh)
        if logits.shape[-1] > 256:
            raise ValueError(f"masks hold 256 classes at most, got {logits.shape[-1]}.")
        masks.append(logits.argmax(-1).astype(np.uint8))
    return np.concatenate(masks, axis=1)[:, : len(dataset)]
