"""Other people's weights, and ours for other people.

variables, report = weights.load("resnet20-12fca82f.th", variables)
print(report)  # loaded 97 of 97 …
weights.save_safetensors(variables, "resnet20.safetensors")
program = weights.export(network, variables, (32, 32, 3))  # bytes, for any number of images
"""

from cnnlab.models.weights.exporting import (
    PLATFORMS,
    check_writable,
    export,
    export_function,
    load_exported,
    save_exported,
    save_safetensors,
)
from cnnlab.models.weights.files import read, read_metadata
from cnnlab.models.weights.imagenet import imagenet_classes
from cnnlab.models.weights.loading import HeadError, Report, input_channels, load
from cnnlab.models.weights.mapping import Modules, mappings, register_mapping
from cnnlab.models.weights.published import Published, recognise

__all__ = [
    "PLATFORMS",
    "HeadError",
    "Modules",
    "Published",
    "Report",
    "check_writable",
    "export",
    "export_function",
    "imagenet_classes",
    "input_channels",
    "load",
    "load_exported",
    "mappings",
    "read",
    "read_metadata",
    "recognise",
    "register_mapping",
    "save_exported",
    "save_safetensors",
]
