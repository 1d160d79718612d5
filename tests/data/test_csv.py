"""A table that lists pictures is read as a folder that holds them, and what is wrong with it is said by line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import paint, run_ranks
from test_cli import evaluated
from test_train import RUN

from capsnet_dist import UserError, datasets, load
from capsnet_dist.train import train


def write(text, table="pictures/labels.csv"):
    Path(table).parent.mkdir(parents=True, exist_ok=True)
    Path(table).write_text(text, encoding="utf-8")


def csv(**options):
    given = {"table": Path("pictures/labels.csv"), "size": 4, "cache": Path("cache")} | options
    return datasets("csv", **given).build()


@pytest.fixture
def pictures():
    """Ten pictures of each of two classes, each of a shade of its own, in the order of a folder."""
    lines = ["file,label"]
    for base, name in ((100, "ant"), (0, "cat")):
        for number in range(10):
            paint(f"pictures/{name}/{number}.png", base + number)
            lines.append(f"{name}/{number}.png,{name}")
    write("\n".join(lines))
    return lines


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"share": 0.4, "seed": 3},
        {"folds": 3, "fold": 1},
        {"limit": 5},
        {"channels": 1, "policy": "pad", "background": 7},
    ],
    ids=str,
)
def test_a_table_and_a_folder_of_the_same_pictures_are_one_data_set(pictures, options):
    table = csv(**options)
    folder = datasets("folder", root=Path("pictures"), size=4, cache=Path("cache"), **options).build()
    assert table.classes == folder.classes and table.fit == folder.fit
    for name in ("train", "test"):
        for one, other in zip(table.split(name), folder.split(name), strict=True):
            assert torch.equal(one, other)


FORMS = {
    "semicolons": lambda text: text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "a mark before the first column": lambda text: "\ufeff" + text,
    "Windows' ends of lines": lambda text: text.replace("\n", "\r\n"),
    "blank lines and spaces": lambda text: text.replace("\n", " \n\n").replace(",", " , "),
    "quotes": lambda text: text.replace("ant/1.png", '"ant/1.png"'),
    "more columns": lambda text: "\n".join(f"{number},{line}" for number, line in enumerate(text.split("\n"))),
}


@pytest.mark.parametrize("form", FORMS)
def test_tables_as_programs_write_them_are_read(pictures, form):
    plain = csv().split("train")
    write(FORMS[form]("\n".join(pictures)))
    assert torch.equal(csv().split("train").images, plain.images)


def test_columns_may_have_other_names_and_paths_begin_elsewhere(pictures):
    plain = csv().split("test")
    write("\n".join(["Bild;Art", *(line.replace(",", ";") for line in pictures[1:])]), "elsewhere.csv")
    other = csv(table=Path("elsewhere.csv"), root=Path("pictures"), file_column="Bild", label_column="Art")
    assert torch.equal(other.split("test").images, plain.images)


def test_a_column_says_what_is_tested_and_what_is_not_used_is_said(pictures, capsys):
    splits = ["split", *["train", "Val", "test", "train", "TRAIN"] * 4]
    write("\n".join(f"{line},{split}" for line, split in zip(pictures, splits, strict=True)))
    data = csv()
    assert len(data.split("train").labels) == 12
    assert sorted(data.split("test").images[:, 0, 0, 0].tolist()) == [2, 7, 102, 107]
    assert "4 images of the split val are not used; test is tested." in capsys.readouterr().err
    assert len(csv(split_column="").split("train").labels) == 16
    assert len(csv(limit=3).split("train").labels) == 6


def test_groups_stand_on_one_side(pictures):
    write("\n".join(f"{line},{group}" for line, group in zip(pictures, ["group", *"abcde" * 4], strict=True)))
    data = csv()
    train, test = ({*(data.split(name).images[:, 0, 0, 0] % 5).tolist()} for name in ("train", "test"))
    assert len(train) == 4 and len(test) == 1 and not train & test
    assert len(data.groups("train").unique()) == 4
    assert csv(group_column="").groups("train") is None


def test_a_group_in_both_splits_is_refused(pictures):
    write(
        "\n".join(
            f"{line},{more}" for line, more in zip(pictures, ["split,group", *["train,x", "test,x"] * 10], strict=True)
        )
    )
    with pytest.raises(UserError, match="1 groups have images in the training and in the test split: x."):
        csv().split("train")


def test_files_that_are_not_there_can_be_left_out(pictures, capsys):
    Path("pictures/ant/3.png").unlink()
    data = csv(skip_broken=True)
    assert sum(len(data.split(name).labels) for name in ("train", "test")) == 19
    assert "1 of 20 files are not there: pictures/ant/3.png. They are left out." in capsys.readouterr().err


def test_broken_files_are_named_or_left_out_with_their_groups(pictures, capsys):
    Path("pictures/ant/3.png").write_text("no picture")
    write("\n".join(f"{line},{group}" for line, group in zip(pictures, ["group", *"abcde" * 4], strict=True)))
    with pytest.raises(UserError, match="1 of 20 files cannot be read as images: pictures/ant/3.png"):
        csv().split("train")
    data = csv(skip_broken=True)
    assert sum(len(data.split(name).labels) for name in ("train", "test")) == 19
    assert [len(data.groups(name)) for name in ("train", "test")] == [
        len(data.split(name).labels) for name in ("train", "test")
    ]
    assert capsys.readouterr().err.count("1 of 20 files cannot be read") == 1


MISTAKES = {
    "labels.csv has no column 'label'. Did you mean 'labels'? Known: file, labels.": "file,labels\na.png,cat",
    "name another one: --data.file-column NAME.": "a.png,cat\nb.png,dog",
    "labels.csv has no rows": "file,label\n",
    "labels.csv names columns twice: label.": "file,label,label\na.png,cat,dog",
    "labels.csv, line 3: 3 fields, where the first line names 2 columns.": "file,label\na.png,cat\nb.png,cat,dog",
    "an empty path, class, split or group in 2 of 3 rows: line 2, line 4.": "file,label\na.png,\nb.png,cat\n,dog",
    "labels.csv, line 2: unknown split 'tset'. Did you mean 'test'?": "file,label,split\na.png,cat,tset",
    "labels.csv has the split train alone: there must be train and one of": "file,label,split\na.png,cat,train",
    "labels.csv: its test split has classes that train has not: fox. Known: cat.": (
        "file,label,split\na.png,cat,train\nb.png,fox,test"
    ),
    "labels.csv names 2 images twice: a.png (line 2 and line 4), b.png (line 3 and line 5, as 'cat' and as 'dog').": (
        "file,label\na.png,cat\nb.png,cat\n./a.png,cat\nb.png,dog"
    ),
    "labels.csv: 2 of 2 files are not there: pictures/a.png, pictures/b.png.": "file,label\na.png,cat\nb.png,dog",
    "labels.csv, line 2: unexpected end of data.": 'file,label\n"a.png,cat',
}


def test_all_that_is_wrong_with_a_table_is_told_at_once():
    paint("pictures/a.png", 1)
    write("file,label\na.png,cat\na.png,dog\nb.png,cat\n,cat\na.png,cat,more\na.png,cat,1,2\n")
    with pytest.raises(UserError) as caught:
        csv()
    assert str(caught.value) == (
        "pictures/labels.csv, line 6: 3 fields, line 7: 4 fields, where the first line names 2 columns. A field that "
        "holds the separator must stand in quotes. "
        "pictures/labels.csv: 1 of 4 files are not there: pictures/b.png. Paths begin from the folder of the table, or "
        "from --data.root DIR; --data.skip-broken leaves out what is missing. "
        "pictures/labels.csv: an empty path, class, split or group in 1 of 4 rows: line 5. "
        "pictures/labels.csv names 1 images twice: a.png (line 2 and line 3, as 'cat' and as 'dog'). Keep one row of "
        "each."
    )
    for table, told in {
        "file,label,split\n,cat,test\na.png,cat,tset\na.png,dog,vla": ["line 2", "a.png", "'tset'", "'vla'"],
        "file,label,split\na.png,cat,train\na.png,,test": ["line 3", "the split train alone"],
        "files,labels\na.png,cat": ["no column 'file'", "no column 'label'"],
    }.items():
        write(table)
        with pytest.raises(UserError) as caught:
            csv()
        assert str(caught.value).count("labels.csv") == len(told) and all(word in str(caught.value) for word in told)


@pytest.mark.parametrize("message", MISTAKES)
def test_what_is_wrong_with_a_table_is_one_message(message):
    write(MISTAKES[message])
    if "not there" not in message:
        paint("pictures/a.png", 1)
        paint("pictures/b.png", 2)
    with pytest.raises(UserError) as caught:
        csv().split("train")
    assert message in str(caught.value)


def test_a_table_that_is_not_there_or_no_text_is_one_message():
    with pytest.raises(UserError, match="There is no table .*labels.csv. Name yours: --data.table FILE.csv."):
        csv()
    write("file,label")
    Path("pictures/labels.csv").write_bytes(b"file,label\n\xff.png,cat")
    with pytest.raises(UserError, match="labels.csv is no text in UTF-8"):
        csv()
    write("file,label,person\na.png,cat,anna")
    with pytest.raises(UserError, match="no column 'persons'. Did you mean 'person'.*--data.group-column NAME"):
        csv(group_column="persons")


def test_a_network_trained_from_a_table_is_evaluated_from_a_folder(pictures):
    write("\n".join(["file,label,person", *(f"{line},{place % 5}" for place, line in enumerate(pictures[1:]))]))
    table = Path("pictures/labels.csv")
    data = datasets("csv", table=table, size=8, cache=Path("cache"), channels=1, group_column="person")
    run_ranks(1, train, replace(RUN, data=data, batch_size=4, steps=2, validation=0.5, run_dir=Path("run")))
    saved = json.loads(Path("run/config.json").read_text())
    assert saved["preprocessing"]["size"] == 8 and saved["run"]["data"]["table"] == "pictures/labels.csv"
    assert evaluated("run")["images"] == 4 and load("run").classes == ("ant", "cat")
    persons = {f"pictures/{line.split(',')[0]}": place % 5 for place, line in enumerate(pictures[1:])}
    sides = []
    for split in ("validation", "train"):
        found = evaluated("run", "--split", split, "--csv", f"{split}.csv")
        rows = [line.split(",")[:2] for line in Path(f"{split}.csv").read_text().splitlines()[1:]]
        assert len(rows) == found["images"] > 0 and all(Path(file).parent.name == name for file, name in rows)
        sides.append({persons[file] for file, _ in rows})
    assert not sides[0] & sides[1]  # the files of groups, as they were held out
    shutil.copytree("pictures/cat", "other/cat")
    found = evaluated("run", "--data", "folder", "--data.root", "other", "--data.share", "1", "--data.cache", "cache")
    assert found["images"] == 10 and sum(found["confusion"][0]) == 0
