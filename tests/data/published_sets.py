"""Every registered data set, tiny, as the files that it is read from: in the original format, in the working folder."""

import bz2
import csv
import gzip
import hashlib
import importlib
import pickle
import struct
from pathlib import Path

import huggingface_hub
import numpy as np
from PIL import Image
from scipy.io import savemat
from test_parquet import write as write_parquet
from torchvision import datasets as known

from capsnet_dist import datasets, from_arrays
from capsnet_dist.data import smallnorb
from capsnet_dist.data.idx import Published

LABELS = np.arange(20) % 10
INFORMATION = np.array([(4, 0, 30, 0), (6, 1, 6, 5), (7, 2, 4, 1), (8, 3, 2, 2), (9, 8, 34, 3)])
"""Instance, elevation, azimuth and lighting of the five pairs of each split of smallNORB."""


def some(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def md5(data):
    return hashlib.md5(data.read_bytes() if isinstance(data, Path) else data).hexdigest()


def made(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def write_idx(file, entries):
    head = bytes([0, 0, 8, entries.ndim]) + struct.pack(f">{entries.ndim}I", *entries.shape)
    made(file).write_bytes(head + entries.astype(np.uint8).tobytes())


def write_as_mnist(patch, kind, module):
    """MNIST, or a set in its likeness, which then has 20 images a split."""
    files = importlib.import_module(f"capsnet_dist.data.{module}").FILES
    for seed, (split, published) in enumerate(list(files.items())):
        for file, entries in zip(published, (some(20, 28, 28, seed=seed), LABELS), strict=True):
            write_idx(Path("data") / kind / "raw" / file.name, entries)
        smaller = tuple(Published(file.name, (20, *file.shape[1:])) for file in published)
        patch.setitem(files, split, smaller)


def write_emnist(patch):
    for seed, split in enumerate(("train", "test")):
        for kind, entries in (("images-idx3", some(47, 28, 28, seed=seed)), ("labels-idx1", np.arange(47))):
            write_idx(Path(f"data/EMNIST/raw/emnist-balanced-{split}-{kind}-ubyte"), entries)


def write_usps(patch, **splits):
    """Shades and labels, from 1, of each split."""
    for split, (shades, labels) in splits.items():
        lines = [
            f"{label} " + " ".join(f"{i + 1}:{2 * (shade + 0.25) / 255 - 1:.6f}" for i, shade in enumerate(row))
            for label, row in zip(labels, shades, strict=True)
        ]
        file = made(Path("data/USPS") / known.USPS.split_list[split][1])
        file.write_bytes(bz2.compress("\n".join(lines).encode()))
        patch.setitem(known.USPS.split_list, split, ["", file.name, md5(file)])


def write_svhn(patch, **parts):
    """The images of each part, whose labels count down from 10, which stands for 0."""
    for part, images in parts.items():
        file = made(Path(f"data/SVHN/{part}_32x32.mat"))
        savemat(file, {"X": images.transpose(2, 3, 1, 0), "y": np.arange(10, 10 - len(images), -1)[:, None]})
        patch.setitem(known.SVHN.split_list, part, ["", file.name, md5(file)])


def write_cifar(patch, kind):
    """Two images in each file, of the class that is its number and of class 9; the pixels of both lists of files."""
    folder, pixels = Path("data") / kind.base_folder, {}
    for which in ("train_list", "test_list"):
        listed = []
        for number, (file, _) in enumerate(getattr(kind, which)):
            pixels.setdefault(which, []).append(some(2, 3, 32, 32, seed=number + len(which)))
            entry = {"data": pixels[which][-1].reshape(2, -1), kind.meta["key"].replace("_names", "s"): [number, 9]}
            made(folder / file).write_bytes(pickle.dumps(entry))
            listed.append([file, md5(folder / file)])
        patch.setattr(kind, which, listed)
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: []}))
    patch.setattr(kind, "meta", kind.meta | {"md5": md5(folder / kind.meta["filename"])})
    return pixels


def write_smallnorb(patch, ending="mat"):
    """Five pairs a split."""
    patch.setattr(smallnorb, "SHAPES", {"dat": (5, 2, 96, 96), "cat": (5,), "info": (5, 4)})
    for split, stem in smallnorb.STEMS.items():
        arrays = {"dat": some(5, 2, 96, 96), "cat": np.arange(5, dtype="<i4"), "info": INFORMATION.astype("<i4")}
        for kind, entries in arrays.items():
            magic = 0x1E3D4C55 if kind == "dat" else 0x1E3D4C54
            sizes = entries.shape + (1,) * (3 - entries.ndim)
            data = struct.pack(f"<{2 + len(sizes)}i", magic, entries.ndim, *sizes) + entries.tobytes()
            patch.setitem(smallnorb.MD5, (split, kind), (md5(data), ""))
            file = made(Path(f"data/smallnorb/{stem}-{kind}.{ending}"))
            file.write_bytes(gzip.compress(data) if ending == "mat.gz" else data)


def write_affnist(file, images, labels, **how):
    held = {"image": images.reshape(len(images), 1600).T, "label_int": labels[None].astype(np.uint8)}
    other = {"before": np.zeros(3), "affNISTdata": held | {"human_readable_transform": np.zeros((6, len(images)))}}
    savemat(made(Path("data/affNIST") / file), other, **how)


def _affnist(patch):
    for file in ("training_batches/1.mat", "test.mat"):
        write_affnist(file, some(20, 40, 40), LABELS)


def _npz(patch):
    splits = {f"{kind}_{split}": entries for split in ("train", "test") for kind, entries in _arrays().items()}
    np.savez("data.npz", **splits)


def _arrays():
    return {"x": some(20, 8, 8, 3), "y": LABELS % 2}


def _pictures(patch):
    """Two classes of ten pictures, and a table of them."""
    with made(Path("data/labels.csv")).open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "label"])
        for number in range(20):
            file = made(Path("data") / "ab"[number % 2] / f"{number}.png")
            Image.fromarray(some(9, 8, 3, seed=number)).save(file)
            rows.writerow([file.relative_to("data"), file.parent.name])


def _parquet(patch, folder="data"):
    write_parquet(f"{folder}/pictures.parquet", range(20), names=["a", "b"])


def _hub(patch):
    _parquet(patch, "owner/set")
    patch.setattr(huggingface_hub, "list_repo_files", lambda repository, **_: ["pictures.parquet"])
    patch.setattr(huggingface_hub, "snapshot_download", lambda repository, **_: repository)


def _as_mnist(kind, module):
    return lambda patch: write_as_mnist(patch, kind, module)


WRITERS = {
    "mnist": _as_mnist("MNIST", "mnist"),
    "mnist_translated": _as_mnist("MNIST", "mnist"),
    "multimnist": _as_mnist("MNIST", "mnist"),
    "fashion_mnist": _as_mnist("FashionMNIST", "fashion_mnist"),
    "kmnist": _as_mnist("KMNIST", "kmnist"),
    "emnist": write_emnist,
    "usps": lambda patch: write_usps(patch, **{split: (some(20, 256), LABELS + 1) for split in ("train", "test")}),
    "svhn": lambda patch: write_svhn(patch, train=some(9, 3, 32, 32), test=some(5, 3, 32, 32)),
    "cifar10": lambda patch: write_cifar(patch, known.CIFAR10),
    "cifar100": lambda patch: write_cifar(patch, known.CIFAR100),
    "smallnorb": write_smallnorb,
    "affnist": _affnist,
    "npz": _npz,
    "folder": _pictures,
    "csv": _pictures,
    "parquet": _parquet,
    "hub": _hub,
    "digits": lambda patch: None,
}
KEPT = {"size": 8, "cache": Path("cache")}
OPTIONS = {
    "multimnist": {"pairs": 2, "test_pairs": 1},
    "npz": {"file": Path("data.npz")},
    "folder": KEPT,
    "csv": KEPT | {"table": Path("data/labels.csv")},
    "parquet": KEPT,
    "hub": KEPT | {"repository": "owner/set"},
}


def tiny(name, patch):
    """A registered data set whose files were written here, and its options."""
    if name == "python":
        return from_arrays(*_arrays().values())
    WRITERS[name](patch)
    return datasets(name, **OPTIONS.get(name, {}))
