"""The places of other people's weights in our networks: one small function a family.

| mapping | whose names |
| --- | --- |
| cnnlab | ours, as ``save_safetensors`` writes them |
| resnet | torchvision's residual nets, and the usual ones for CIFAR |
| alexnet, vgg | torchvision's |
| squeezenet | torchvision's |
| squeezenet_caffe | the authors' Caffe net; its first kernel is turned from BGR to RGB |
| lenet | the usual tutorial's: conv1, conv2, fc1, fc2, fc3 |
| airbench | airbench94 of Keller Jordan (2024), both of its forms |
| unet | milesial's Pytorch-UNet, with transposed convolutions |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cnnlab.models.weights import layout
from cnnlab.models.weights.prefixes import is_usual, prefixes, without_prefix
from cnnlab.spelling import unknown

Arrays = Mapping[str, np.ndarray]
Modules = Mapping[str, Mapping[str, Any]]
"""The arrays of each layer: ``{"conv1": {"weight": …, "bias": …}}``."""

_INSIDE_BLOCK = {
    "downsample.0": "projection",
    "downsample.1": "projection_norm",
    "shortcut.0": "projection",
    "shortcut.1": "projection_norm",
    **{f"conv{i}": f"conv{i}" for i in (1, 2, 3)},
    **{f"bn{i}": f"norm{i}" for i in (1, 2, 3)},
}
_OUTSIDE_BLOCKS = {
    "conv1": "stem/conv",
    "bn1": "stem/norm",
    "fc": "head/classifier/dense",
    "linear": "head/classifier/dense",
}


class Fit(NamedTuple):
    """A mapping, tried on a file and a network.

    Attributes:
      name: of the mapping.
      placed: ``(name there, value as here)`` by the names here, also names that are not here.
      matched: how many leaves of the network were found, with the right shape.
      prefix: of the network's names there, such as ``module.model.``; "" for none.
      short: the names there, without as much of the prefix as each has.
    """

    name: str
    placed: dict[str, tuple[str, np.ndarray]]
    matched: int
    prefix: str
    short: dict[str, str]

    @property
    def outside(self) -> set[str]:
        """The names there without the prefix that most of the network's have: other parts."""
        used = [key.startswith(self.prefix) for key, _ in self.placed.values()]
        if 2 * sum(used) < len(used):
            return set()
        return {key for key in self.short if not key.startswith(self.prefix)}

    @property
    def kinship(self) -> dict[str, str]:
        """The outermost module of every name there, without its number.

        ``layer2.0.conv1.weight`` is of ``layer``, ``module.fc1.bias`` of ``fc``: two names of one
        module are taken for parts of the same side, body or head, of a network.
        """
        outer = {key: re.split(r"[./]", name)[0] for key, name in self.short.items()}
        return {key: re.split(r"[^a-z]", name.lower())[0] for key, name in outer.items()}


def mappings() -> tuple[str, ...]:
    """The names that ``load`` takes as ``mapping``."""
    return tuple(_MAPPINGS)


def register_mapping(
    name: str, family: Callable[[Modules, Modules], dict[str, str]], *, bgr: bool = False
) -> None:
    """Tells ``load`` the places of other people's weights in a family of your own.

    Args:
      name: of the mapping; none that there is.
      family: ``(theirs, ours) -> {layer there: layer here}``, such as ``{"features.0.0":
        "stem/conv"}``, from the layers' arrays by their names: there those of a file
        (``{"features.0.0": {"weight": ...}}``), here the network's (``{"stem/conv": {"kernel":
        ...}}``, of which only the shapes are there). Layers that are left out are reported. The
        order of the axes is no matter of yours.
      bgr: whether the images there were blue, green, red: the channels of ``stem/conv`` are turned.

    Raises:
      ValueError: for a name that is taken.
    """
    if name in _MAPPINGS and _families.get(name) is not family:
        raise ValueError(f"there is a mapping {name!r} already. Choose another name.")
    _families[name] = family
    _MAPPINGS[name] = _by_modules(family, bgr)


_families: dict[str, Callable[[Modules, Modules], dict[str, str]]] = {}  # that were registered


def fit(arrays: Arrays, ours: Mapping[str, Any], name: str | None = None) -> Fit:
    """Finds the place of every array that belongs in the network.

    Args:
      arrays: of the file.
      ours: leaves of the network's variables, by names such as ``params/stem/conv/kernel``; only
        their shapes are looked at.
      name: the mapping; the one that matches most leaves where None.

    Raises:
      ValueError: for an unknown mapping.
    """
    if name is not None and name not in _MAPPINGS:
        raise ValueError(unknown("mapping", name, _MAPPINGS))
    fits = []
    for prefix in prefixes(arrays):
        short = without_prefix(arrays, prefix)
        for candidate in _MAPPINGS if name is None else (name,):
            placed = _MAPPINGS[candidate](arrays, ours, short)
            found = [k for k, v in ours.items() if k in placed and _same_shape(placed[k][1], v)]
            fits.append(Fit(candidate, placed, len(found), prefix, short))
    best = max(fits, key=lambda tried: (tried.matched, len(tried.placed)))
    if 2 * best.matched > len(ours):
        _check_only(best, fits)
    return best


def _check_only(best: Fit, fits: list[Fit]) -> None:
    """Refuses a file with two networks that fit as well, of which neither has a usual name.

    Raises:
      ValueError: naming both.
    """
    if is_usual(best.prefix):
        return
    for other in fits:
        apart = not (other.prefix.startswith(best.prefix) or best.prefix.startswith(other.prefix))
        if apart and other.matched == best.matched:
            raise ValueError(
                f"the file holds several networks that fit as well, under {best.prefix!r} and "
                f"{other.prefix!r}: save the arrays of the one that is meant in a file of its own."
            )


def _same_shape(value: np.ndarray, leaf: Any) -> bool:
    return value.shape == tuple(leaf.shape)


def cnnlab(
    arrays: Arrays, ours: Mapping[str, Any], short: Mapping[str, str]
) -> dict[str, tuple[str, np.ndarray]]:
    """Our own names."""
    names = {short[key]: (key, value) for key, value in arrays.items()}
    kinds = ("params/", "batch_stats/")
    return {name: v for name, v in names.items() if name in ours or name.startswith(kinds)}


def resnet(theirs: Modules, ours: Modules) -> dict[str, str]:
    """``layer2.0.downsample.1`` to ``stage2/block0/projection_norm``."""
    del ours
    places = {}
    for name in theirs:
        inside = re.fullmatch(r"layer(\d+)\.(\d+)\.(.+)", name)
        if inside and inside[3] in _INSIDE_BLOCK:
            places[name] = f"stage{inside[1]}/block{inside[2]}/{_INSIDE_BLOCK[inside[3]]}"
        elif name in _OUTSIDE_BLOCKS:
            places[name] = _OUTSIDE_BLOCKS[name]
    return places


def alexnet(theirs: Modules, ours: Modules) -> dict[str, str]:
    """``features.N`` and ``classifier.N``, by the order of the layers."""
    return _by_order(theirs, ours, r"features\.(0|3|6|8|10)|classifier\.(1|4|6)")


def vgg(theirs: Modules, ours: Modules) -> dict[str, str]:
    """``features.N`` and ``classifier.N``: the n-th convolution is the n-th here, and so on."""
    return _by_order(theirs, ours, r"features\.\d+|classifier(\.\d+)?")


def lenet(theirs: Modules, ours: Modules) -> dict[str, str]:
    """``conv1`` and the like, by the order of the layers."""
    return _by_order(theirs, ours, r"conv\d|fc\d")


def squeezenet(theirs: Modules, ours: Modules) -> dict[str, str]:
    """``features.N.expand3x3``: the n-th fire module is the n-th here."""
    inside = {"squeeze": "squeeze", "expand1x1": "expand1", "expand3x3": "expand3"}
    fires = _ordered({m.rpartition("/")[0] for m in ours if m.endswith("/squeeze")})
    names = _ordered({m.rpartition(".")[0] for m in theirs if m.endswith(".squeeze")})
    places = {"features.0": "stem/conv", "classifier.1": "head/conv"}
    for index, name in enumerate(names):
        fire = fires[index] if index < len(fires) else f"fire{index + 2}"
        places |= {f"{name}.{there}": f"{fire}/{here}" for there, here in inside.items()}
    return {there: here for there, here in places.items() if there in theirs}


def squeezenet_caffe(theirs: Modules, ours: Modules) -> dict[str, str]:
    """``fire2.conv1x1_1``, and ``conv1x1_2`` and ``conv3x3_2`` side by side after it."""
    inside = {"conv1x1_1": "squeeze", "conv1x1_2": "expand1", "conv3x3_2": "expand3"}
    fires = {m.split("/")[-2]: m.rpartition("/")[0] for m in ours if m.endswith("/squeeze")}
    places = {"conv1": "stem/conv", "conv_final": "head/conv"}
    for name in theirs:
        fire, _, layer = name.partition(".")
        if layer in inside:
            places[name] = f"{fires.get(fire, fire)}/{inside[layer]}"
    return {there: here for there, here in places.items() if there in theirs}


def airbench(theirs: Modules, ours: Modules) -> dict[str, str]:
    """``2.conv1`` and ``7``, or ``whiten``, ``layers.1.conv1`` and ``head``."""
    del ours
    places = {}
    inside = r"((?:layers\.)?\d+)\.((?:conv|norm)\d)"
    matches = [match for name in theirs if (match := re.fullmatch(inside, name))]
    groups = _ordered({match[1] for match in matches})
    for match in matches:
        places[match[0]] = f"stage{groups.index(match[1]) + 1}/{match[2]}"
    for name, tensors in theirs.items():
        if re.fullmatch(r"whiten|head|(layers\.)?\d+", name) and "weight" in tensors:
            places[name] = "stem/conv" if tensors["weight"].ndim == 4 else "head/dense"
    return places if groups else {}


def unet(theirs: Modules, ours: Modules) -> dict[str, str]:
    """``down1.maxpool_conv.1.double_conv.3`` to ``stage1/conv2``."""
    del ours
    places = {"outc.conv": "head/conv"}
    inside = {"0": "conv1", "1": "norm1", "3": "conv2", "4": "norm2"}
    for name in theirs:
        stage, _, rest = name.partition(".")
        here = "stem" if stage == "inc" else stage.replace("down", "stage")
        double = re.fullmatch(r"(?:maxpool_conv\.1\.|conv\.)?double_conv\.([0134])", rest)
        if double:
            places[name] = f"{here}/{inside[double[1]]}"
        elif rest == "up":
            places[name] = f"{here}/up"
    return {there: here for there, here in places.items() if there in theirs}


def _by_order(theirs: Modules, ours: Modules, pattern: str) -> dict[str, str]:
    """The n-th layer of every kind there is the n-th of its kind here.

    The last dense layer is always the last, also where dense layers before it are fewer here; those
    too many get a place that no network has, so that they are seen to be left over.
    """
    theirs = {name: tensors for name, tensors in theirs.items() if re.fullmatch(pattern, name)}
    places = {}
    for kind in ("convolution", "norm", "dense"):
        names = [name for name in _ordered(theirs) if _kind(theirs[name]) == kind]
        paths = [path for path in _ordered(ours) if _kind(ours[path]) == kind]
        if kind == "dense" and 0 < len(paths) < len(names):
            names = [*names[: len(paths) - 1], names[-1], *names[len(paths) - 1 : -1]]
        for index, name in enumerate(names):
            places[name] = paths[index] if index < len(paths) else f"{kind} {index + 1}"
    return places


def _kind(tensors: Mapping[str, Any]) -> str:
    weight = tensors.get("kernel", tensors.get("weight"))
    return {4: "convolution", 2: "dense"}.get(0 if weight is None else len(weight.shape), "norm")


def _ordered(names: Iterable[str]) -> list[str]:
    """Stem first, head last, numbers as numbers."""

    def place(name: str) -> tuple[int, list[tuple[int, str]]]:
        first = {"stem": 0, "head": 2}.get(name.split("/")[0], 1)
        parts = re.findall(r"\d+|\D+", name)
        return first, [(int(p), "") if p.isdigit() else (-1, p) for p in parts]

    return sorted(names, key=place)


def _by_modules(
    family: Callable[[Modules, Modules], dict[str, str]], bgr: bool = False
) -> Callable[[Arrays, Mapping[str, Any], Mapping[str, str]], dict[str, tuple[str, np.ndarray]]]:
    """Makes a mapping of arrays from one of layers; ``bgr`` where the images there were BGR."""

    def mapping(
        arrays: Arrays, ours: Mapping[str, Any], short: Mapping[str, str]
    ) -> dict[str, tuple[str, np.ndarray]]:
        theirs, keys = _modules(arrays, short)
        places = family(theirs, _our_modules(ours))
        names = {path: name for name, path in places.items()}
        placed: dict[str, tuple[str, np.ndarray]] = {}
        channels = None  # of the maps that the next dense layer sees flattened
        for path in _ordered(names):
            tensors = theirs[names[path]]
            for leaf, (tensor, value) in layout.leaves(path, tensors, channels).items():
                if bgr and leaf == "params/stem/conv/kernel":
                    value = value[:, :, ::-1]
                placed[leaf] = keys[names[path], tensor], value
                if leaf.endswith("/kernel"):
                    channels = value.shape[3] if value.ndim == 4 else None
        return placed

    return mapping


def _modules(
    arrays: Arrays, short: Mapping[str, str]
) -> tuple[dict[str, dict[str, np.ndarray]], dict[tuple[str, str], str]]:
    """Arrays by layer and name, of their short names; and their full names."""
    modules: dict[str, dict[str, np.ndarray]] = {}
    keys = {}
    for key, array in arrays.items():
        if not short[key]:
            continue
        layer, _, tensor = short[key].replace("/", ".").rpartition(".")
        tensor = {"w": "weight", "b": "bias"}.get(tensor, tensor)
        modules.setdefault(layer, {})[tensor] = array
        keys[layer, tensor] = key
    return modules, keys


def _our_modules(ours: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    modules: dict[str, dict[str, Any]] = {}
    for name, leaf in ours.items():
        path, _, kind = name.partition("/")[2].rpartition("/")
        modules.setdefault(path, {})[kind] = leaf
    return modules


_MAPPINGS: dict[str, Callable[..., dict[str, tuple[str, np.ndarray]]]] = {
    "cnnlab": cnnlab,
    "resnet": _by_modules(resnet),
    "alexnet": _by_modules(alexnet),
    "vgg": _by_modules(vgg),
    "squeezenet": _by_modules(squeezenet),
    "squeezenet_caffe": _by_modules(squeezenet_caffe, bgr=True),
    "lenet": _by_modules(lenet),
    "airbench": _by_modules(airbench),
    "unet": _by_modules(unet),
}
