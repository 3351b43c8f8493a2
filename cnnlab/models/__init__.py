"""Networks as rows of named stages, how their weights start, and weights of other people.

network = models.create("resnet20", num_classes=10)
print(models.summary(network, (32, 32, 3)))
variables = models.init.create("lsuv")(network, key, images)
variables, report = models.weights.load("resnet20.th", variables)
"""

from cnnlab.models import init, weights
from cnnlab.models.airbench import airbench
from cnnlab.models.alexnet import alexnet, alexnet_small
from cnnlab.models.autoencoder import conv_autoencoder, dense_autoencoder
from cnnlab.models.convolution import TooSmallError
from cnnlab.models.lenet import lenet5, lenet5_1998
from cnnlab.models.network import Network, as_network
from cnnlab.models.norms import Norm
from cnnlab.models.part import Part
from cnnlab.models.perceptron import linear, mlp
from cnnlab.models.registry import create, names, options, register
from cnnlab.models.resnet import resnet
from cnnlab.models.resnet_cifar import resnet_cifar
from cnnlab.models.squeezenet import squeezenet
from cnnlab.models.summary import Summary, multiply_adds, multiply_adds_of, summary
from cnnlab.models.unet import unet
from cnnlab.models.vgg import vgg, vgg_small

__all__ = [
    "Network",
    "Norm",
    "Part",
    "Summary",
    "TooSmallError",
    "airbench",
    "alexnet",
    "alexnet_small",
    "as_network",
    "conv_autoencoder",
    "create",
    "dense_autoencoder",
    "init",
    "lenet5",
    "lenet5_1998",
    "linear",
    "mlp",
    "multiply_adds",
    "multiply_adds_of",
    "names",
    "options",
    "register",
    "resnet",
    "resnet_cifar",
    "squeezenet",
    "summary",
    "unet",
    "vgg",
    "vgg_small",
    "weights",
]
