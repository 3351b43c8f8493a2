"""Writes docs/zoo.md: every network of the zoo beside its published size.

python docs/zoo.py
python docs/zoo.py --weights FOLDER --data-dir CIFAR10  # first measures docs/zoo_accuracies.json
"""

import argparse
import pathlib

from cnnlab import models
from cnnlab.files import read_json, write_bytes, write_json
from cnnlab.studies.settings import WeightsFile
from cnnlab.studies.weights_files import load_weights_on
from cnnlab.train import evaluate
from cnnlab.train.environment import environment

ACCURACIES = pathlib.Path(__file__).with_name("zoo_accuracies.json")

# Idelbayev's files, and the test accuracy on CIFAR-10 in percent that he gives.
CIFAR10 = {
    "resnet20-12fca82f.th": 91.73,
    "resnet32-d509ac18.th": 92.63,
    "resnet44-014dd654.th": 93.10,
}

# Name, input, parameters as published (None: not published for this form), where from.
PUBLISHED: list[tuple[str, dict[str, object], tuple[int, int, int], int | None, str]] = [
    (
        "lenet5_1998",
        {},
        (28, 28, 1),
        60_850,
        "60,000 of LeCun et al. 1998, and a dense layer for the RBF",
    ),
    ("lenet5", {}, (28, 28, 1), 61_706, "the form usual today"),
    (
        "alexnet",
        {"num_classes": 1000, "groups": 2},
        (227, 227, 3),
        60_965_224,
        "two columns; 60 million in Krizhevsky et al. 2012",
    ),
    ("alexnet", {"num_classes": 1000}, (227, 227, 3), 62_378_344, "one column"),
    (
        "alexnet_torchvision",
        {"num_classes": 1000},
        (224, 224, 3),
        61_100_840,
        "torchvision's count",
    ),
    ("alexnet_small", {}, (32, 32, 3), None, ""),
    (
        "vgg11",
        {"num_classes": 1000},
        (224, 224, 3),
        132_863_336,
        "133 million in Simonyan and Zisserman 2015",
    ),
    ("vgg13", {"num_classes": 1000}, (224, 224, 3), 133_047_848, "133 million"),
    ("vgg16", {"num_classes": 1000}, (224, 224, 3), 138_357_544, "138 million"),
    ("vgg19", {"num_classes": 1000}, (224, 224, 3), 143_667_240, "144 million"),
    (
        "vgg16",
        {"num_classes": 1000, "norm": "batch"},
        (224, 224, 3),
        138_365_992,
        "torchvision's count",
    ),
    ("vgg16_small", {}, (32, 32, 3), None, ""),
    ("resnet20", {}, (32, 32, 3), 269_722, "He et al. 2016: 0.27 million"),
    ("resnet32", {}, (32, 32, 3), 464_154, "0.46 million"),
    ("resnet44", {}, (32, 32, 3), 658_586, "0.66 million"),
    ("resnet56", {}, (32, 32, 3), 853_018, "0.85 million"),
    ("resnet110", {}, (32, 32, 3), 1_727_962, "1.7 million"),
    ("resnet18", {"num_classes": 1000}, (224, 224, 3), 11_689_512, "torchvision's count"),
    ("resnet34", {"num_classes": 1000}, (224, 224, 3), 21_797_672, "torchvision's count"),
    ("resnet50", {"num_classes": 1000}, (224, 224, 3), 25_557_032, "torchvision's count"),
    ("resnet101", {"num_classes": 1000}, (224, 224, 3), 44_549_160, "torchvision's count"),
    ("resnet152", {"num_classes": 1000}, (224, 224, 3), 60_192_808, "torchvision's count"),
    ("resnet18", {"small": True}, (32, 32, 3), 11_173_962, "the usual form for CIFAR"),
    ("squeezenet", {"num_classes": 1000}, (224, 224, 3), 1_248_424, "Iandola et al. 2016, table 1"),
    ("airbench94", {}, (32, 32, 3), 1_971_640, "Jordan 2024: 1.97 million"),
    (
        "unet",
        {"num_classes": 2, "padding": "VALID"},
        (572, 572, 1),
        31_030_658,
        "counted with PyTorch after Ronneberger et al. 2015",
    ),
    ("dense_autoencoder", {}, (28, 28, 1), None, "widths of Hinton and Salakhutdinov 2006"),
    ("conv_autoencoder", {}, (32, 32, 1), None, ""),
]

TAIL = """
## Other people's weights

`models.weights.load(file, variables)` finds out by the names in it whose file it is, and refuses
one that is not this network's. Names may begin with what a larger module adds (`module.`, `model.`,
`net.`, `backbone.`, `encoder_q.` …); what lies beside the network is reported.

On the command line `--weights FILE` is enough for a file that `experiments.export` wrote, and for a
published one that is recognised by its bytes or by names that only it has (marked *). Of any other
file say `--weights-normalization`, and `--model` and `--model-options` where its names and shapes
do not show the network. Nothing is taken for granted: the same names are also those of networks
that were trained on other pixels.

| file | network | normalisation |
| --- | --- | --- |
| torchvision's ResNet-18 … 152 * | `resnet18` … | torchvision |
| torchvision's VGG-11 … 19 * | `vgg11` …, for `vgg11_bn` … `norm=batch` | torchvision |
| a ResNet with the stride in a block's first convolution | `stride_on=conv1` | its own |
| torchvision's AlexNet * | `alexnet_torchvision` | torchvision |
| torchvision's SqueezeNet 1.0 * | `squeezenet` | torchvision |
| the authors' Caffe SqueezeNet 1.0 * | `squeezenet`, `head_padding=1`; 227 pixels | caffe |
| Idelbayev's CIFAR-10 ResNet-20 … 110 * | `resnet20` … | torchvision |
| Jordan's airbench94 | `airbench94` | its own |
| milesial's U-Net | `unet`, `norm=batch` | unit |

CIFAR-10 test accuracy of Idelbayev's ResNet-20, 32 and 44, read without PyTorch: {measured} %
(published {published}).

## Ours for other programs

`experiments.export RUN FILE.safetensors` writes weights that any reader of safetensors opens,
`FILE.stablehlo` the whole program with the normalisation, for uint8 images; it needs jax alone, and
`jax.export.deserialize(...).mlir_module()` is the StableHLO for other compilers. ONNX is not
written: of jax2onnx, its converter, current versions need an older Orbax than the checkpoints here,
and the newest that installs beside them (0.13) cannot convert ResNet, LeNet and SqueezeNet. Where
ONNX must be, load the safetensors into the same network in PyTorch and export from there.
"""

HEAD = """# The zoo

Every network is a row of named stages; `models.create(name, num_classes, **options)` makes it and
`models.summary(network, image_shape)` prints its table. Names beyond those here are the same
families at other depths: `models.names()`. Options by name: `models.options("vgg16")`.

This page is written by `python docs/zoo.py`, which stops where a count is not the published one.

| name, options | input | parameters | multiply-adds, million | published |
| --- | --- | --- | --- | --- |
"""


def row(
    name: str,
    options: dict[str, object],
    shape: tuple[int, int, int],
    published: int | None,
    source: str,
) -> str:
    """The line of a network; SystemExit where its count is not the published one."""
    table = models.summary(models.create(name, **options), shape)  # type: ignore[arg-type]
    if published is not None and table.parameters != published:
        raise SystemExit(f"{name}: {table.parameters:,} parameters, published {published:,}.")
    settings = ", ".join(f"{key}={value!r}" for key, value in options.items())
    size = " x ".join(map(str, shape))
    count = "" if published is None else f"{published:,}"
    return (
        f"| `{name}`{f', {settings}' if settings else ''} | {size} | {table.parameters:,} | "
        f"{table.multiply_adds / 1e6:,.1f} | {': '.join(filter(None, (count, source)))} |"
    )


def tail() -> str:
    """What follows the table, with the measured accuracies."""
    accuracies = read_json(ACCURACIES)["accuracies"]
    measured = " and ".join(
        ", ".join(f"{100 * accuracies[f]:.2f}" for f in CIFAR10).rsplit(", ", 1)
    )
    published = ", ".join(f"{each:.2f}" for each in CIFAR10.values())
    return TAIL.replace("{measured}", measured).replace("{published}", published)


def measure(weights: pathlib.Path, data_dir: pathlib.Path) -> None:
    """Writes the accuracies of the files of ``CIFAR10`` in a folder, on its test part."""
    accuracies = {}
    for name in CIFAR10:
        file = WeightsFile(weights=weights / name)
        networks, test = load_weights_on(file, "test", "cifar10", data_dir)
        scores = evaluate(networks.recipe, networks.states, test)
        accuracies[name] = float(scores["accuracy"][0])
        print(f"{name}: {100 * accuracies[name]:.2f} %", flush=True)
    about = environment(pathlib.Path(__file__).parent)
    write_json(ACCURACIES, {"accuracies": accuracies, "images": len(test), "environment": about})


def main() -> None:
    """Measures what is asked for, counts, compares and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=pathlib.Path, help="the folder of Idelbayev's files")
    parser.add_argument("--data-dir", type=pathlib.Path, help="the folder of CIFAR-10")
    arguments = parser.parse_args()
    if (arguments.weights is None) != (arguments.data_dir is None):
        parser.error("--weights and --data-dir go together")
    if arguments.weights is not None:
        measure(arguments.weights, arguments.data_dir)
    rows = "\n".join(row(*each) for each in PUBLISHED)
    page = f"{HEAD}{rows}\n{tail()}"
    write_bytes(pathlib.Path(__file__).with_suffix(".md"), page.encode())


if __name__ == "__main__":
    main()
