"""The zoo: a name, or a Python file's function, and overrides make a network."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from cnnlab.arguments import check_like, check_whole
from cnnlab.models.airbench import airbench
from cnnlab.models.alexnet import alexnet, alexnet_small
from cnnlab.models.autoencoder import conv_autoencoder, dense_autoencoder
from cnnlab.models.lenet import lenet5, lenet5_1998
from cnnlab.models.network import Network, as_network
from cnnlab.models.norms import Norm
from cnnlab.models.perceptron import linear, mlp
from cnnlab.models.resnet import resnet
from cnnlab.models.resnet_cifar import resnet_cifar
from cnnlab.models.squeezenet import squeezenet
from cnnlab.models.unet import unet
from cnnlab.models.vgg import vgg, vgg_small
from cnnlab.source_file import load_maker, split_file
from cnnlab.spelling import unknown


def _depths(
    family: Callable[..., Network], name: str, depths: tuple[int, ...], **fixed: Any
) -> dict[str, Callable[..., Network]]:
    return {name.format(d): functools.partial(family, depth=d, **fixed) for d in depths}


_CIFAR = (8, 20, 32, 44, 56, 110)
_VGG = (11, 13, 16, 19)

_MAKERS: dict[str, Callable[..., nn.Module]] = {
    "linear": linear,
    "mlp": mlp,
    "lenet5": lenet5,
    "lenet5_1998": lenet5_1998,
    "alexnet": alexnet,
    "alexnet_torchvision": functools.partial(
        alexnet, widths=(64, 192, 384, 256, 256), norm="none", stem_padding=2
    ),
    "alexnet_small": alexnet_small,
    **_depths(vgg, "vgg{}", _VGG),
    **_depths(vgg_small, "vgg{}_small", _VGG),
    **_depths(resnet_cifar, "resnet{}", _CIFAR),
    **_depths(resnet_cifar, "plain{}", _CIFAR, shortcut="none"),
    **_depths(resnet, "resnet{}", (18, 34, 50, 101, 152)),
    **_depths(resnet, "plain{}", (18, 34), shortcut="none"),
    "squeezenet": squeezenet,
    "airbench94": airbench,
    "unet": unet,
    "conv_autoencoder": conv_autoencoder,
    "dense_autoencoder": dense_autoencoder,
}


def names() -> tuple[str, ...]:
    """The names that ``create`` knows."""
    return tuple(_MAKERS)


def register(name: str, maker: Callable[..., nn.Module]) -> None:
    """Puts a family of your own into the zoo, so that ``create`` and every experiment know it.

    Args:
      name: letters, digits, "_", "-" and "."; none that the zoo has.
      maker: ``maker(num_classes, **options)`` gives a ``Network`` or any other Linen module; or
        the class of a Linen module with a first field ``num_classes``. Its options with their
        defaults are what ``options(name)`` lists; one called ``norm`` or ``axis_name`` is what
        ``axis_name`` of ``create`` sets. An autoencoder has ``channels`` in the place of
        ``num_classes``.

    Raises:
      ValueError: for a name that is taken or cannot be one, or a maker without ``num_classes`` or
        with arguments that are not named.

    Example:
      >>> models.register("mobilenet_v2", mobilenet_v2)
      >>> models.create("mobilenet_v2", 1000, width=0.5)
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f'a name must be of letters, digits, "_", "-" and ".", got {name!r}.')
    if name in _MAKERS and _MAKERS[name] is not maker:
        raise ValueError(f"the zoo has a model {name!r} already. Choose another name.")
    _check_maker(maker, "a maker")
    _MAKERS[name] = maker


def _check_maker(maker: Callable[..., Any], which: str) -> None:
    """Refuses what cannot be called as ``create`` does it."""
    parameters = _parameters(maker)
    first = parameters[0].name if parameters else "nothing"
    if first not in ("num_classes", "channels"):
        raise ValueError(
            f"{which} must be called as maker(num_classes, **options), or with channels if it "
            f"makes an autoencoder; the first argument of this one is {first}."
        )
    unnamed = [str(p) for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if unnamed:
        raise ValueError(
            f"the options of {which} must have names and defaults, so that wrong ones are refused; "
            f"got {', '.join(unnamed)}."
        )


def _parameters(maker: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """The arguments of a maker; of a module's class without those that every one has."""
    parameters = inspect.signature(maker).parameters.values()
    of_flax = ("parent", "name") if inspect.isclass(maker) else ()
    return tuple(each for each in parameters if each.name not in of_flax)


def maker(name: str) -> Callable[..., nn.Module]:
    """What makes the network called ``name``, of its number of classes and options.

    Args:
      name: of the zoo, or of a file and a function in it, as of ``create``.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for an unknown name, or a function that is no maker.
    """
    file = split_file(name)
    if file is not None:
        made = load_maker(*file)
        _check_maker(made, name)
        return made
    if name.endswith(".py"):
        raise ValueError(f"which function of {name} makes the network: name it, {name}:FUNCTION.")
    if name not in _MAKERS:
        raise ValueError(unknown("model", name, _MAKERS))
    return _MAKERS[name]


def create(
    name: str, num_classes: int | None = None, *, axis_name: str | None = None, **overrides: Any
) -> Network:
    """Makes the network called ``name``.

    Args:
      name: one of ``names()``, or a Python file and a function in it that is a maker as
        ``register`` takes it, such as "net.py:make". The file is run.
      num_classes: the width of the last layer, >= 1; the family's own (10, of a U-Net 2) where
        None. Autoencoders have none, but ``channels=``, those of the images.
      axis_name: the mapped axis over whose devices batch normalisation takes its statistics, for
        training under ``pmap`` or ``shard_map``; other kinds need none. See ``norms.Norm``.
      **overrides: further arguments of the family, all of which ``options(name)`` lists with
        their defaults, such as ``width=32``, ``norm="group"``, ``norm=Norm("batch", epsilon=1e-3)``
        or ``dtype=jnp.bfloat16``.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for an unknown name or override; the nearest known ones are named. For an
        ``axis_name`` where the family has no choice of normalisation.

    Example:
      >>> network = create("resnet20", num_classes=100, shortcut="B")
      >>> variables = network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
      >>> features = network.apply(variables, images, stop="stage2")
    """
    known = options(name)
    for override in overrides:
        if override not in known:
            raise ValueError(unknown(f"option of model {name!r}:", override, known))
        check_like(f"{override} of model {name!r}", overrides[override], known[override])
    if axis_name is not None:
        overrides |= _over_devices(name, known, overrides, axis_name)
    if num_classes is None:
        return as_network(maker(name)(**overrides))
    if "channels" in known:
        raise ValueError(
            f"{name} gives images and no classes: leave num_classes={num_classes} out, and say how "
            "many channels the images have, channels=."
        )
    check_whole("num_classes", num_classes, least=1)
    return as_network(maker(name)(num_classes, **overrides))


def _over_devices(
    name: str, known: dict[str, Any], overrides: dict[str, Any], axis_name: str
) -> dict[str, Any]:
    """The overrides with which a family's batch normalisation averages over a mapped axis."""
    if "axis_name" in known:
        return {"axis_name": axis_name}
    if "norm" not in known:
        raise ValueError(
            f"{name} has no option norm whose statistics could be taken over axis_name="
            f"{axis_name!r}. Leave it out."
        )
    kind = overrides.get("norm", known["norm"])
    kind = Norm(kind) if kind == "batch" else kind
    if isinstance(kind, Norm) and kind.kind == "batch":
        kind = dataclasses.replace(kind, axis_name=axis_name)
    return {"norm": kind}


def options(name: str) -> dict[str, Any]:
    """The overrides that the network called ``name`` takes, and their defaults.

    Raises:
      FileNotFoundError: if the name is that of a file that is not there.
      ValueError: for an unknown name.
    """
    made = maker(name)
    fixed = {"num_classes", *(made.keywords if isinstance(made, functools.partial) else ())}
    return {p.name: p.default for p in _parameters(made) if p.name not in fixed}
