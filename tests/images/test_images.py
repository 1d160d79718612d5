"""A folder of pictures: every kind becomes the pixels that it shows, and what is wrong is said at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GREEN, paint
from PIL import Image

from capsnet_dist import UserError, datasets
from capsnet_dist.images.fit import Fit


def folder(root="pictures", **options):
    return datasets("folder", root=Path(root), size=4, cache=Path("cache"), **options).build()


def halves(width, height):
    """Green on the left, black on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = GREEN
    return Image.fromarray(pixels)


@pytest.fixture
def pictures():
    """Two classes of ten pictures, each of a shade of its own."""
    for number in range(10):
        paint(f"pictures/cat/{number}.png", (number, 0, 0))
        paint(f"pictures/ant/{number}.png", (100 + number, 0, 0))
    return Path("pictures")


KINDS = {
    "jpeg": lambda picture: picture.save("a.jpg", quality=100, subsampling=0),
    "webp": lambda picture: picture.save("a.webp", lossless=True),
    "tiff": lambda picture: picture.save("a.tiff"),
    "bmp": lambda picture: picture.save("a.bmp"),
    "ppm": lambda picture: picture.save("a.ppm"),
    "png": lambda picture: picture.save("a.png"),
    "wrong ending": lambda picture: picture.save("a.jpg", format="PNG"),
    "palette": lambda picture: picture.quantize(8).save("a.png"),
    "transparency": lambda picture: picture.convert("RGBA").save("a.png"),
    "CMYK": lambda picture: picture.convert("CMYK").save("a.tiff"),
    "first of an animation": lambda picture: picture.quantize(8).save(
        "a.gif", save_all=True, append_images=[Image.new("RGB", picture.size, (255, 0, 0)).quantize(8)]
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_colours_that_it_shows(kind):
    KINDS[kind](halves(8, 8))
    (file,) = Path().glob("a.*")
    with Image.open(file) as picture:
        pixels = Fit(size=8)(picture)
    assert pixels.dtype == np.uint8 and pixels.shape == (3, 8, 8)
    assert np.abs(pixels[:, :, :3].astype(int) - np.array(GREEN)[:, None, None]).max() <= 3
    assert pixels[:, :, 5:].max() <= 3


@pytest.mark.parametrize("file", ["a.png", "a.tiff", "a.pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_and_not_cut_off(file, channels):
    shades = np.full((4, 4), 127 * 257, np.uint16)
    shades[0, 0] = 255
    Image.fromarray(shades).save(file)
    with Image.open(file) as picture:
        pixels = Fit(size=4, channels=channels)(picture)
    assert pixels.shape == (channels, 4, 4)
    assert set(pixels[:, 0, 0]) == {0} and set(pixels[:, 1:].flatten()) == {127}


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "I;16", "CMYK", "RGBA"])
def test_gray_and_colour_can_be_asked_of_every_mode(mode):
    picture = Image.new("L", (4, 4), 255).convert(mode) if mode != "I;16" else Image.new(mode, (4, 4), 65535)
    picture.save("a.tiff" if mode == "CMYK" else "a.png")
    for channels in (1, 3):
        with Image.open("a.tiff" if mode == "CMYK" else "a.png") as saved:
            assert (Fit(size=4, channels=channels)(saved) == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_the_background_shows_through_transparent_pixels(mode):
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
    if mode == "P":
        picture = Image.new("P", (4, 4), 0)
        picture.info["transparency"] = 0
    picture.save("a.png")
    with Image.open("a.png") as saved:
        assert (Fit(size=4, background=77)(saved) == 77).all()


def test_a_photo_is_turned_as_its_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    halves(8, 8).save("a.jpg", exif=exif, quality=100)
    with Image.open("a.jpg") as picture:
        pixels = Fit(size=8)(picture)
    assert pixels[1, :3].min() > 180 and pixels[1, 5:].max() < 20


def test_each_policy_keeps_what_it_says():
    wide = Image.fromarray(np.repeat(np.arange(0, 240, 30, dtype=np.uint8)[None], 4, axis=0))  # 8 columns of 4 pixels
    crop, stretch, pad = (Fit(4, policy, 1, background=9)(wide.copy())[0] for policy in ("crop", "stretch", "pad"))
    assert (crop == [60, 90, 120, 150]).all()
    assert (np.diff(stretch.astype(int)) > 40).all() and stretch[0, 0] < 30 and stretch[0, 3] > 180
    assert (pad[[0, 3]] == 9).all() and np.abs(pad[1:3].astype(int) - stretch[1:3]).max() <= 1
    tall = wide.transpose(Image.Transpose.TRANSPOSE)
    for policy, image in (("crop", crop), ("stretch", stretch), ("pad", pad)):
        assert (Fit(4, policy, 1, background=9)(tall.copy())[0] == image.T).all()
    assert Fit(4, "pad", 3, background=9)(Image.new("L", (500, 1), 255)).shape == (3, 4, 4)


def test_a_large_photo_keeps_its_mean():
    noise = np.random.default_rng(0).integers(0, 256, (400, 600), np.uint8)
    Image.fromarray(noise).save("a.jpg", quality=95)
    with Image.open("a.jpg") as picture:
        shrunk = Fit(size=4, channels=1)(picture)
    assert np.abs(shrunk.astype(int) - noise.mean()).max() < 8


def test_classes_are_named_after_folders_and_a_fixed_share_of_each_is_the_test_split(pictures):
    data = folder()
    train, test = data.split("train"), data.split("test")
    assert data.classes == ("ant", "cat") and data.fit.image == (3, 4, 4)
    assert train.images.dtype is torch.uint8 and train.labels.dtype is torch.int64
    assert train.labels.bincount().tolist() == [8, 8] and test.labels.bincount().tolist() == [2, 2]
    shades = torch.cat([train.images, test.images])[:, 0, 0, 0]
    assert (shades >= 100).tolist() == [label == 0 for label in torch.cat([train.labels, test.labels]).tolist()]
    assert sorted(shades.tolist()) == [*range(10), *range(100, 110)]
    assert torch.equal(folder().split("test").images, test.images)


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation"])
def test_a_set_that_is_split_already_stays_so(name):
    for number in (10, 9, 1):
        paint(f"set/train/{number}/deep/{number}.PNG")
    paint(f"set/{name}/9/0.png", (7, 7, 7))
    paint("set/notes/figure.png")
    paint("set/train/.hidden/0.png")
    Path("set/train/9/notes.txt").write_text("no picture")
    data = folder("set")
    assert data.classes == ("1", "10", "9")
    assert data.split("train").labels.tolist() == [0, 1, 2]
    assert data.split("test").labels.tolist() == [2] and data.split("test").images.unique().tolist() == [7]


def test_a_limit_takes_the_same_images_of_every_class(pictures):
    labels = folder(limit=5, share=0.4).split("train").labels
    assert labels.bincount().tolist() == [3, 3]
    shades = folder(limit=5, share=0.4).split("train").images[:, 0, 0, 0]
    assert torch.equal(folder(limit=5, share=0.4).split("train").images[:, 0, 0, 0], shades)
    assert shades[:3].tolist() != [100, 101, 102]


def damage(pictures):
    (pictures / "cat/3.png").write_bytes((pictures / "cat/3.png").read_bytes()[:50])
    (pictures / "cat/4.png").write_text("no picture")
    (pictures / "ant/5.png").write_bytes(b"")
    Image.new("F", (4, 4)).save(pictures / "ant/6.tiff")
    Image.new("1", (10_000, 6_000)).save(pictures / "ant/7.png")


def test_all_broken_files_are_named_at_once(pictures):
    damage(pictures)
    with pytest.raises(UserError) as caught:
        folder().split("train")
    message = str(caught.value)
    assert message.startswith("5 of 21 files cannot be read as images: pictures/ant/5.png (is no image")
    for name in ("cat/3.png", "cat/4.png", "ant/6.tiff (its pixels are floating", "ant/7.png (has 6000x10000 pixels"):
        assert name in message
    assert message.endswith("Mend or delete them, or leave them out: --data.skip-broken.")


def test_broken_files_can_be_left_out(pictures, capsys):
    damage(pictures)
    data = folder(skip_broken=True)
    train, test = data.split("train"), data.split("test")
    assert len(train.labels) == len(train.images) and len(train.labels) + len(test.labels) == 16
    shades = torch.cat([train.images, test.images])[:, 0, 0, 0].tolist()
    assert sorted(shades) == [0, 1, 2, 5, 6, 7, 8, 9, 100, 101, 102, 103, 104, 106, 108, 109]
    assert "Warning: 5 of 21 files cannot be read" in capsys.readouterr().err


def no_class():
    paint("pictures/0.png")


def alone():
    paint("pictures/train/cat/0.png")
    paint("pictures/train/ant/0.png")


def alone_test():
    paint("pictures/val/cat/0.png")


def further_class():
    alone()
    paint("pictures/val/dog/0.png")


def no_images():
    paint("pictures/ant/0.png")
    Path("pictures/cat").mkdir()
    Path("pictures/cat/notes.txt").touch()


MISTAKES = {
    "There is no folder .*absent. Name the one that holds your images: --data.root DIR.": lambda: None,
    "pictures must hold a folder of images for each class; it has no folders.": no_class,
    "pictures has train alone: it must hold train and one of test, val, valid, validation": alone,
    "pictures has val alone": alone_test,
    "pictures/val has classes that train has not: dog. Known: ant, cat.": further_class,
    "pictures/cat has no images. Known endings: .bmp, .gif, .jpeg": no_images,
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_folder_laid_out_otherwise_is_refused_with_the_rule(message):
    MISTAKES[message]()
    with pytest.raises(UserError, match=message):
        data = folder("absent" if "absent" in message else "pictures")
        data.split("test")


def test_a_cache_among_the_images_is_refused(pictures):
    with pytest.raises(UserError, match="--data.cache pictures/decoded is in --data.root pictures, among the images"):
        datasets("folder", root=pictures, cache=pictures / "decoded").build()


def persons():
    """Two classes of pictures of six persons, each of a shade of its own."""
    for number in range(6):
        for name in ("ant", "cat"):
            for more in range(2):
                paint(f"pictures/{name}/p{number}_{more}.png", (10 * number, 0, 0))


def sides(data):
    return [{*data.split(name).images[:, 0, 0, 0].tolist()} for name in ("train", "test")]


@pytest.mark.parametrize("pattern", ["^[^_]+", r"p(\d)_\d.png$"])
def test_a_pattern_keeps_pictures_of_one_person_on_one_side(pattern):
    persons()
    data = folder(group=pattern, share=0.35)
    train, test = sides(data)
    assert len(train) == 4 and len(test) == 2 and not train & test
    assert len(data.groups("train").unique()) == 4 and len(data.groups("train")) == 16
    tested = [sides(folder(group=pattern, folds=3, fold=fold))[1] for fold in range(3)]
    assert sorted(shade for shades in tested for shade in shades) == [0, 10, 20, 30, 40, 50]
    assert folder().groups("train") is None


def test_what_a_pattern_does_not_find_is_named():
    persons()
    paint("pictures/cat/other.png")
    with pytest.raises(UserError, match=r"--data.group '\^p' finds no group in 1 of 25 paths: other.png."):
        folder(group="^p").split("train")
    with pytest.raises(UserError, match=r"--data.group '\(' is no regular expression: missing \)"):
        folder(group="(").split("train")


def test_what_is_split_already_is_not_divided_anew():
    for name in ("train", "test"):
        paint(f"set/{name}/cat/anna_{name}.png")
        paint(f"set/{name}/ant/bob-{name}_0.png")
    with pytest.raises(UserError, match="--data.folds 5: the data have a test split already. Give the training images"):
        folder("set", folds=5).split("train")
    with pytest.raises(UserError, match="1 groups have images in the training and in the test split: anna"):
        folder("set", group="^[^_]+").split("train")
