"""Parquet files of the Hub give the pictures, the names and the splits that they hold."""

import json
from io import BytesIO
from pathlib import Path

import huggingface_hub
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from huggingface_hub import errors
from PIL import Image

from capsnet_dist import UserError, datasets

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
NAMES = ["cat", "ant"]


def png(number):
    content = BytesIO()
    Image.fromarray(PIXELS[number]).save(content, "png")
    return content.getvalue()


def write(file, rows, labels=None, names=None, raw=False, **columns):
    """A file as the Hub's library writes it; labels follow the numbers of the rows if not given."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    images = [png(row) for row in rows]
    content = {
        "image": images
        if raw
        else [{"bytes": image, "path": f"{row}.png"} for row, image in zip(rows, images, strict=True)],
        "label": [row % 2 for row in rows] if labels is None else labels,
    }
    table = pyarrow.table(content | columns)
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, file, row_group_size=7)


def parquet(root="set", **options):
    given = {"root": Path(root), "size": 8, "cache": Path("cache")} | options
    return datasets("parquet", **given).build()


def rows_of(split):
    """Which rows images are of."""
    pixels = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    return [int((pixels == image).flatten(1).all(1).nonzero()) for image in split.images]


@pytest.mark.parametrize("raw", [False, True])
def test_files_that_name_their_splits_are_read_in_order_with_the_names_of_classes(raw):
    write("set/data/train-00000-of-00002.parquet", range(20), names=NAMES, raw=raw)
    write("set/data/train-00001-of-00002.parquet", range(20, 30), names=NAMES, raw=raw)
    write("set/data/validation-00000-of-00001.parquet", range(30, 40), names=NAMES, raw=raw)
    data = parquet()
    train, test = data.split("train"), data.split("test")
    assert data.classes == ("cat", "ant") and data.fit.image == (3, 8, 8)
    assert rows_of(train) == [*range(30)] and rows_of(test) == [*range(30, 40)]
    assert train.labels.tolist() == [row % 2 for row in range(30)]


@pytest.mark.parametrize("file", ["set/pictures.parquet", "set/train.parquet"])
def test_one_file_is_divided_as_a_folder_is(file):
    write(file, range(40), names=NAMES)
    for place in ("set", file):
        data = parquet(place)
        tested = data.split("test")
        assert (
            tested.labels.bincount().tolist() == [4, 4]
            and [row % 2 for row in rows_of(tested)] == tested.labels.tolist()
        )
        assert sorted(rows_of(data.split("train")) + rows_of(tested)) == [*range(40)]
    assert len(parquet(limit=5).split("train").labels) == 8


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a"] * 20, ("a", "b")),
        ([12, 3] * 20, ("3", "12")),
        (pyarrow.array(["b", "a"] * 20).dictionary_encode(), ("a", "b")),
    ],
    ids=["names", "numbers", "dictionary"],
)
def test_labels_without_known_names_are_names_themselves(labels, classes):
    write("set/a.parquet", range(40), labels)
    data = parquet()
    train = data.split("train")
    assert data.classes == classes and [1 - row % 2 for row in rows_of(train)] == train.labels.tolist()


def test_groups_and_columns_are_named(capsys):
    persons = [f"person {row // 8}" for row in range(40)]
    write("set/train.parquet", range(40), None, NAMES, person=persons, thumbnail=[b"x"] * 40)
    write("set/test.parquet", range(2), None, NAMES, person=["a", "b"], thumbnail=[b"x"] * 2)
    write("set/extra.parquet", range(2), None, NAMES)
    with pytest.raises(
        UserError, match=r"2 columns of images. Name one: --data.image-column NAME. Columns: image \(struct"
    ):
        parquet().split("train")
    data = parquet(image_column="image", group_column="person")
    assert len(data.groups("train").unique()) == 5 and len(data.split("train").labels) == 40
    assert "files whose names tell no split are not used: extra.parquet." in capsys.readouterr().err


def broken():
    images = [{"bytes": png(0), "path": None}, {"bytes": b"no picture", "path": None}, {"bytes": None, "path": "a.png"}]
    write("set/a.parquet", range(3), image=images)


def unlabelled():
    write("set/train.parquet", range(8), names=NAMES)
    write("set/test.parquet", range(8), [-1] * 8, NAMES)


MISTAKES = {
    "There is no parquet file ": lambda: None,
    "2 of 3 files cannot be read as images: a.parquet row 1 (is no image": broken,
    "a.parquet row 2 (the row has no bytes of an image)": broken,
    "set has no column 'label'. Did you mean 'labels'": (
        lambda: write("set/a.parquet", range(2), more=[0, 1]) or rename("set/a.parquet", ["image", "labels", "more"])
    ),
    "set: the labels of test are of classes that train has not: -1. -1 says on the Hub that nobody knows": unlabelled,
    "labels must be whole numbers, or names; that of row 1 is None, as are 1 of 2.": (
        lambda: write("set/a.parquet", range(2), [0, None])
    ),
    "that of row 0 is 0.5": lambda: write("set/a.parquet", range(2), [0.5, 1.5]),
    "set has files of the splits test, val: there must be train": (
        lambda: [write(f"set/{name}.parquet", range(2)) for name in ("test", "val")]
    ),
    "a.parquet cannot be read as a parquet file": lambda: (
        Path("set").mkdir(),
        Path("set/a.parquet").write_text("x" * 99),
    ),
}


def rename(file, names):
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(file).rename_columns(names), file)


@pytest.mark.parametrize("message", MISTAKES)
def test_what_is_wrong_with_files_is_one_message(message):
    MISTAKES[message]()
    with pytest.raises(UserError) as caught:
        data = parquet()
        data.split("train"), data.split("test")
    assert message in str(caught.value)


@pytest.fixture
def hub(monkeypatch):
    """A Hub whose repositories are folders here."""
    asked = []

    def snapshot_download(repository, *, repo_type, revision, allow_patterns):
        asked.append((repository, repo_type, revision, allow_patterns))
        if repository == "owner/offline":
            raise errors.LocalEntryNotFoundError("no network")
        if not Path(repository).is_dir():
            raise errors.RepositoryNotFoundError("404", response=type("R", (), {"headers": {}, "request": None})())
        return repository

    def list_repo_files(repository, *, repo_type, revision):
        if not Path(repository).is_dir():
            raise errors.OfflineModeIsEnabled("no network")
        return [file.relative_to(repository).as_posix() for file in Path(repository).rglob("*") if file.is_file()]

    monkeypatch.setattr(huggingface_hub, "list_repo_files", list_repo_files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def on_hub(repository, **options):
    return datasets("hub", repository=repository, size=8, cache=Path("cache"), **options).build()


def test_a_data_set_of_the_hub_is_its_parquet_files(hub):
    write("owner/set/data/train-00000-of-00001.parquet", range(30), names=NAMES)
    write("owner/set/data/test-00000-of-00001.parquet", range(30, 40), names=NAMES)
    data = on_hub("owner/set")
    assert data.classes == ("cat", "ant") and rows_of(data.split("test")) == [*range(30, 40)]
    assert hub == [("owner/set", "dataset", None, "*.parquet")]
    assert len(list(Path("cache").glob("owner_set-test-*.safetensors"))) == 1


def test_a_folder_of_a_repository_is_chosen_by_name(hub):
    for name in ("small", "large"):
        write(f"owner/set/{name}/train.parquet", range(30), names=NAMES)
    with pytest.raises(UserError, match="owner/set has several folders: large, small. Name one: --data.subset NAME."):
        on_hub("owner/set").split("train")
    with pytest.raises(UserError, match="owner/set has no parquet files in its folder tiny."):
        on_hub("owner/set", subset="tiny").split("train")
    assert not hub  # nothing was downloaded before
    assert len(on_hub("owner/set", subset="small").split("train").labels) == 24
    assert hub[-1] == ("owner/set", "dataset", None, "small/*.parquet")


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        ("owner/offline", "owner/offline is not in the Hub's cache, and the Hub cannot be reached."),
        ("owner/absent@v1", "owner/absent@v1 is no data set on the Hub that you may see. Check the spelling"),
        ("absent", "--data.repository 'absent': must be owner/name, or owner/name@revision."),
        ("owner/empty", "owner/empty has no parquet files.*--data.repository owner/empty@refs/convert/parquet."),
    ],
)
def test_what_is_not_to_be_had_is_one_message(hub, repository, message):
    Path("owner/empty").mkdir(parents=True)
    with pytest.raises(UserError, match=message):
        on_hub(repository).split("train")
