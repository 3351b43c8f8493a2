"""The names of ImageNet's classes."""

import functools
import importlib.resources


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1000 classes of ILSVRC 2012, in the order of every published network.

    The list beside this file is torchvision's (BSD licence): short English names, of which a few
    occur twice.
    """
    text = (
        importlib.resources.files(__package__)
        .joinpath("imagenet_classes.txt")
        .read_text(encoding="utf-8")
    )
    return tuple(text.splitlines())
