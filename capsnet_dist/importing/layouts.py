"""The layouts that are known, and those that are refused with the reason."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from capsnet_dist.importing import capsnet_keras, capsnet_pytorch, capsulewise, efficient, self_routing
from capsnet_dist.importing.foreign import Foreign, Imported, Told
from capsnet_dist.importing.hdf5 import read_keras
from capsnet_dist.importing.pytorch import read_pytorch


@dataclass(frozen=True)
class Layout:
    """How files of one repository are read."""

    source: str
    """The repository, and what is special about its files."""
    read: Callable[[Path], Foreign]
    """Gives the tensors of a file."""
    translate: Callable[[Foreign, Told], Imported]
    """Makes a network of them."""


LAYOUTS = {
    "xifeng_keras": Layout("XifengGuo/CapsNet-Keras", read_keras, capsnet_keras.xifeng_keras),
    "q7": Layout("MiguelCosta94/Q7-CapsNets", read_keras, capsnet_keras.q7),
    "notebook": Layout("the notebook with checkpoint-ACCURACY-EPOCH.pth", read_pytorch, capsnet_pytorch.notebook),
    "efficient_capsnet": Layout("EscVM/Efficient-CapsNet", read_keras, efficient.efficient_capsnet),
    "capsulewise": Layout("ruslangrimov/capsnet-with-capsulewise-convolution", read_keras, capsulewise.capsulewise),
    "sr_capsnet": Layout("coder3000/SR-CapsNet", read_pytorch, self_routing.self_routing),
}

VIEWED = (
    "its primary capsules are made by a view without a permutation, so that a part is eight neighbouring pixels of one "
    "map: no network of ours has such parts, and moving weights cannot make them"
)
CHILDREN = "its couplings are a softmax over the parts and not over the wholes: no routing of ours does that"
UNFOLDED = (
    "its convolutional capsules unfold windows in an order in which rows, columns and numbers of a pose mix: no layer "
    "of ours sees such windows"
)
SHARED_OUT = (
    "its class capsules add 0.1 to two numbers of every vote in place of coordinates, and its windows start from the "
    "even share of their own types: `variational_capsnet` follows the paper in both"
)
REFUSED = {
    "xifeng_pytorch": VIEWED,
    "danielhavir": VIEWED,
    "gram_ai": CHILDREN,
    "ml_capsules": UNFOLDED,
    "variational": SHARED_OUT,
}
