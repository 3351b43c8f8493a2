r"""Growing a deep network out of a shallow one (Simonyan and Zisserman, ICLR 2015, section 3.1).

Claims: a deep network without normalisation does not start to learn from small gaussian weights;
one whose layers begin as those of a shallow network, which does learn from them, goes on. From
Glorot's or He's weights it learns without being grown.
Published: configuration A (11 layers) was trained from normal weights of standard deviation 0.01,
and configurations of up to 19 layers were begun with its layers; "it is possible to initialise the
weights without pre-training by using the random initialisation procedure of Glorot and Bengio". He
et al. (ICCV 2015) found that 30 layers learn from theirs, not from Glorot's.
Measured: see results/deepening-*.json (written by this module).

    python -m experiments.deepening
    python -m experiments.deepening --dataset fashion_mnist --data-dir DIR --fraction 0.1 \
        --model-options "widths=(256,256,256)" --std 0.022 --seeds 3 \
        --deep-options "widths=(256,256,256,256,256,256,256,256)"
    python -m experiments.deepening --dataset cifar10 --data-dir DIR --std 0.02 --seeds 5 \
        --model vgg11 --deep vgg19 --model-options width=64 "hidden=(512,512)" --flip --crop 4 \
        --batch-size 128 --shallow-epochs 30 --epochs 90
    python -m experiments.deepening --resume runs/deepening-digits-1

Every network has the same epochs in all, those of the shallow one that it grew out of included
(which cost less); a seed gives them the same order of the images within a phase. Each phase has a
schedule of its own. ``unchanged`` grows by layers that do nothing yet (Chen et al., ICLR 2016).
What is too small is a matter of the widths: ``--std`` is to be chosen so that the shallow network
learns; 0.01 was for inputs of up to 255 and layers of up to 4608 inputs. New layers that are drawn
from it must be few: on digits a perceptron grown from 3 hidden layers to 12 stayed where it was.
Some of the test part is looked at after each epoch, to draw it; nothing is chosen by it. A network
counts as started if its error on the training images comes under half of that of guessing.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
