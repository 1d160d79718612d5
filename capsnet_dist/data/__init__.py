"""Data sets and augmentations. Importing this package registers them."""

from capsnet_dist.data.affnist import AffNIST
from capsnet_dist.data.augment import Chain, NoAugmentation, Shift
from capsnet_dist.data.augment_affine import Affine, Place
from capsnet_dist.data.augment_crop import Crop, Erase, Flip, ResizedCrop
from capsnet_dist.data.augment_hvc import HVCAugmentation
from capsnet_dist.data.augment_mix import Mixup
from capsnet_dist.data.augment_tone import BrightnessContrast
from capsnet_dist.data.cifar import CIFAR10, CIFAR100
from capsnet_dist.data.csv_table import Csv
from capsnet_dist.data.digits import Digits
from capsnet_dist.data.emnist import EMNIST
from capsnet_dist.data.fashion_mnist import FashionMNIST
from capsnet_dist.data.folder import Folder
from capsnet_dist.data.given import FromPython
from capsnet_dist.data.hub import Hub
from capsnet_dist.data.kmnist import KMNIST
from capsnet_dist.data.mnist import MNIST, TranslatedMNIST
from capsnet_dist.data.multimnist import MultiMNIST
from capsnet_dist.data.npz import Npz
from capsnet_dist.data.parquet import Parquet
from capsnet_dist.data.smallnorb import SmallNORB
from capsnet_dist.data.svhn import SVHN
from capsnet_dist.data.usps import USPS

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "EMNIST",
    "KMNIST",
    "MNIST",
    "SVHN",
    "USPS",
    "AffNIST",
    "Affine",
    "BrightnessContrast",
    "Chain",
    "Crop",
    "Csv",
    "Digits",
    "Erase",
    "FashionMNIST",
    "Flip",
    "Folder",
    "FromPython",
    "HVCAugmentation",
    "Hub",
    "Mixup",
    "MultiMNIST",
    "NoAugmentation",
    "Npz",
    "Parquet",
    "Place",
    "ResizedCrop",
    "Shift",
    "SmallNORB",
    "TranslatedMNIST",
]
