"""Published files of weights, recognised by their bytes or by names that only they have.

A normalization is taken for granted only where the file is certainly a published one: the names of
torchvision's networks alone are also those of networks that were trained on other pixels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from cnnlab.models.weights import files
from cnnlab.models.weights.imagenet import imagenet_classes
from cnnlab.models.weights.prefixes import prefixes, without_prefix

_CIFAR10_CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())

Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of a file's arrays by their names, without the prefix of all of them."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A network whose weights were published.

    Attributes:
      name: such as "SqueezeNet 1.0 of its authors, for ImageNet".
      model: the network's name in the zoo.
      model_options: further settings of the model.
      num_classes: how many outputs it has.
      image_shape: ``(H, W, C)`` of the images that it was trained on.
      usual: the normalization that the published file was trained with.
      normalization: the same where the file is certainly the published one; None where only its
        names and shapes are those.
      class_names: of its classes; empty where they are not certain.
    """

    name: str
    model: str
    model_options: tuple[str, ...]
    num_classes: int
    image_shape: tuple[int, int, int]
    usual: str
    normalization: str | None = None
    class_names: tuple[str, ...] = ()


def recognise(path: str | Path) -> Published | None:
    """The published network that a file's weights are of, if it is one that is known here.

    These are SqueezeNet 1.0 of its authors (Caffe), the residual nets for CIFAR-10 of
    github.com/akamaster/pytorch_resnet_cifar10, and torchvision's for ImageNet that the zoo has.

    Args:
      path: the file, of a kind that ``read`` knows.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if it cannot be read.
    """
    arrays = files.read_contents(path).tensors
    for prefix in prefixes(arrays):
        short = without_prefix(arrays, prefix)
        shapes = {name: arrays[key].shape for key, name in short.items()}
        for family in (_caffe_squeezenet, _cifar_resnet, _torchvision):
            found = family(shapes)
            if found is not None:
                return _with_certainty(found, Path(path))
    return None


def _with_certainty(found: Published, path: Path) -> Published:
    """With the normalization, and the classes of CIFAR-10, of a file that was published."""
    if found.normalization is not None:
        return found
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    if digest not in _DIGESTS:
        return found
    names = found.class_names or _CIFAR10_CLASSES
    return dataclasses.replace(found, normalization=found.usual, class_names=names)


def _caffe_squeezenet(shapes: Shapes) -> Published | None:
    known = {"conv1/w": (96, 3, 7, 7), "fire9/conv1x1_1/w": (64, 512, 1, 1)}
    known |= {"conv_final/w": (1000, 512, 1, 1)}
    if any(shapes.get(name) != shape for name, shape in known.items()):
        return None
    options = ("head_padding=1",)
    name = "SqueezeNet 1.0 of its authors, for ImageNet"
    shape, classes = (227, 227, 3), imagenet_classes()
    return Published(name, "squeezenet", options, 1000, shape, "caffe", "caffe", classes)


def _cifar_resnet(shapes: Shapes) -> Published | None:
    """Three groups of blocks of 16, 32 and 64 maps, ``linear``, and shortcuts without weights."""
    counts = _blocks(shapes)
    known = {"conv1.weight": (16, 3, 3, 3), "linear.weight": (10, 64)}
    if any(shapes.get(name) != shape for name, shape in known.items()):
        return None
    if len(counts) != 3 or len(set(counts)) > 1 or any("shortcut" in name for name in shapes):
        return None
    depth = 6 * counts[0] + 2
    name = f"ResNet-{depth} for CIFAR-10 of akamaster/pytorch_resnet_cifar10"
    return Published(name, f"resnet{depth}", (), 10, (32, 32, 3), "torchvision")


def _torchvision(shapes: Shapes) -> Published | None:
    """Networks for ImageNet whose names and shapes are those of torchvision."""
    for outputs, find in (
        ("fc.weight", _torchvision_resnet),
        ("classifier.6.weight", _torchvision_features),
        ("classifier.1.weight", _torchvision_squeezenet),
    ):
        if shapes.get(outputs, ())[:1] == (1000,) and (found := find(shapes)):
            model, *options = found.split()
            name, shape = f"{found} for ImageNet of torchvision", (224, 224, 3)
            names = imagenet_classes()
            about = (name, model, tuple(options), 1000, shape, "torchvision")
            return Published(*about, class_names=names)
    return None


def _torchvision_resnet(shapes: Shapes) -> str | None:
    if shapes.get("conv1.weight") != (64, 3, 7, 7):
        return None
    counts, second = _blocks(shapes), shapes.get("layer1.0.conv2.weight")
    bottleneck = "layer1.0.conv3.weight" in shapes
    depth = _DEPTHS.get((counts, bottleneck))
    return f"resnet{depth}" if depth and second == (64, 64, 3, 3) else None  # not wide, no groups


def _torchvision_features(shapes: Shapes) -> str | None:
    """AlexNet and VGG."""
    convolutions = [
        name for name in shapes if re.fullmatch(r"features\.\d+\.weight", name)
        and len(shapes[name]) == 4
    ]  # fmt: skip
    first = shapes.get("features.0.weight")
    if first == (64, 3, 11, 11) and len(convolutions) == 5:
        return "alexnet_torchvision"
    depth = len(convolutions) + 3
    if first != (64, 3, 3, 3) or depth not in (11, 13, 16, 19):
        return None
    return f"vgg{depth}{' norm=batch' if 'features.1.running_mean' in shapes else ''}"


def _torchvision_squeezenet(shapes: Shapes) -> str | None:
    version_1_0 = shapes.get("features.0.weight") == (96, 3, 7, 7)
    return "squeezenet" if version_1_0 and "features.12.squeeze.weight" in shapes else None


def _blocks(shapes: Shapes) -> tuple[int, ...]:
    """How many blocks ``layer1``, ``layer2`` … have."""
    matches = [re.fullmatch(r"layer(\d)\.(\d+)\.conv1\.weight", name) for name in shapes]
    places = [(int(match[1]), int(match[2])) for match in matches if match]
    layers = sorted({layer for layer, _ in places})
    return tuple(1 + max(b for at, b in places if at == layer) for layer in layers)


_DEPTHS: dict[tuple[tuple[int, ...], bool], int] = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}

_DIGESTS = frozenset(
    # akamaster/pytorch_resnet_cifar10: ResNet-20, 32, 44, 56, 110.
    "12fca82f d509ac18 014dd654 4bfd9763 1d1ed7c2 "
    # torchvision: ResNet-18, 34, 50, 101, 152 (each with its older and newer files).
    "f37072fd 5c106cde b627a593 333f7ec4 0676ba61 19c8e357 11ad3fa6 63fe2227 5d3b4d8f cd907fc2 "
    "394f9c45 b121ed2d f82ba261 "
    # VGG-11, 13, 16, 19, without and with normalisation; AlexNet; SqueezeNet 1.0.
    "8a719046 bbd30ac9 19584684 c768596a 397923af dcbb9e9d 6002323d abd245e5 6c64b313 c79401a0 "
    "7be5be79 4df8aa71 b66bff10 a815701f".split()
)
"""The beginnings of the SHA-256 digests of published files, which are a part of their names."""
