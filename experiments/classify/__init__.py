r"""Classify photographs with a run, or weights from elsewhere: the most probable classes of each.

python -m experiments.classify runs/digits-resnet8-1 seven.png two.png
python -m experiments.classify photo.jpg --weights exported.safetensors
python -m experiments.classify photo.jpg --weights resnet50.pth --model resnet50
python -m experiments.classify *.jpg --weights FILE.npz --model squeezenet \
        --model-options head_padding=1 --normalization caffe --image-size 227
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
