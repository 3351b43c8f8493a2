"""The networks of the benchmarks in PyTorch, layer by layer those of cnnlab."""

import itertools

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut of option A around them."""

    def __init__(self, before: int, features: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, features - before
        self.conv1 = nn.Conv2d(before, features, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, C, H, W]`` to ``[N, features, H / stride, W / stride]``."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.added:
            x = x[:, :, :: self.stride, :: self.stride]
            half = self.added // 2
            x = functional.pad(x, (0, 0, 0, 0, half, self.added - half))
        return functional.relu(x + y)


class ResNet20(nn.Module):
    """He et al., CVPR 2016, section 4.2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = [16] * 4 + [32] * 3 + [64] * 3
        self.blocks = nn.Sequential(
            *(Block(a, b, 1 if a == b else 2) for a, b in itertools.pairwise(widths))
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, 3, 32, 32]`` to logits ``[N, 10]``."""
        x = self.blocks(functional.relu(self.norm(self.conv(x))))
        return self.head(x.mean((2, 3)))


def lenet5() -> nn.Module:
    """LeNet-5 with ReLU and max-pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def create(name: str) -> nn.Module:
    """``resnet20`` or ``lenet5``."""
    return {"resnet20": ResNet20, "lenet5": lenet5}[name]()
