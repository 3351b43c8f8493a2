"""Networks as rows of named stages.

network = models.create("resnet20", num_classes=10)
print(models.summary(network, (32, 32, 3)))
"""

from cnnlab.models.lenet import lenet5
from cnnlab.models.network import Network
from cnnlab.models.perceptron import linear, mlp
from cnnlab.models.registry import create, names
from cnnlab.models.resnet_cifar import resnet_cifar
from cnnlab.models.summary import Summary, multiply_adds, multiply_adds_of, summary

__all__ = [
    "Network",
    "Summary",
    "create",
    "lenet5",
    "linear",
    "mlp",
    "multiply_adds",
    "multiply_adds_of",
    "names",
    "resnet_cifar",
    "summary",
]
