"""Figures: the arrays and labels they show, legible on light and dark pages, whatever the names of the classes are."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from test_record import NAMES
from test_train import RUN

from capsnet_dist import build, datasets, decoders, models, routings
from capsnet_dist.analysis import gallery, iterations, views
from capsnet_dist.analysis.comparison import Row
from capsnet_dist.analysis.gallery import FIGURES, fitting
from capsnet_dist.analysis.receptive import extent
from capsnet_dist.analysis.subject import NotShown, Subject
from capsnet_dist.figures import canvas, tiles
from capsnet_dist.figures.comparison import comparison
from capsnet_dist.figures.confusion import confusion
from capsnet_dist.figures.couplings import agreement, couplings
from capsnet_dist.figures.curves import Curve, curves
from capsnet_dist.figures.examples import examples
from capsnet_dist.figures.lengths import calibration_error, lengths
from capsnet_dist.figures.overlaps import HUES, overlaps
from capsnet_dist.figures.pose_space import flatten, pose_space
from capsnet_dist.figures.poses import effects, poses
from capsnet_dist.figures.reconstructions import reconstructions
from capsnet_dist.figures.robustness import robustness
from capsnet_dist.figures.scaling import scaling

RANDOM = np.random.default_rng(0)
LONG = tuple(f"{'W' * 20} {number}" for number in range(10))


def pixels(*shape):
    return RANDOM.random(shape).astype(np.float32)


def draw_confusion(classes=NAMES):
    counts = RANDOM.integers(0, 2000, (len(classes), len(classes)))
    return confusion(counts, classes)


def draw_reconstructions(classes=NAMES):
    true = np.arange(14) % len(classes)
    predicted = np.where(np.arange(14) < 9, true, (true + 1) % len(classes))
    return reconstructions(pixels(14, 1, 8, 8), pixels(14, 1, 8, 8), true, predicted, predicted, classes)


def draw_overlaps(classes=NAMES):
    pairs = np.stack([np.arange(9) % len(classes), (np.arange(9) + 1) % len(classes)], axis=1)
    groups = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2])
    return overlaps(pixels(9, 1, 8, 8), pixels(9, 2, 1, 8, 8), pairs, pairs, pairs[::-1], groups, classes)


def draw_poses(classes=NAMES):
    return poses(pixels(4, 3, 3, 9, 7), np.linspace(-0.25, 0.25, 3), classes[0], np.array([[-0.1] * 4, [0.9] * 4]))


def draw_curves(classes=NAMES):
    runs = [(np.arange(1.0, 200), RANDOM.random(199)) for _ in range(2)]
    few = [(np.array([50.0, 100.0]), np.array([0.9, 0.95]))]
    shown = [Curve(classes[0], runs, measured=False), Curve(classes[1], few)]
    return curves({"loss": shown, "accuracy, %": shown})


def draw_couplings(classes=NAMES):
    maps = RANDOM.normal(size=(3, 2, 6, 6)).astype(np.float32)
    return couplings(maps, pixels(1, 28, 28), np.array([0.9, 0.1]), np.ones(3), (8.0, 20.0, 20.0, 8.0), classes[:2])


def draw_agreement(classes=NAMES):
    return agreement(RANDOM.random((3, 20)), RANDOM.random((3, 20)), RANDOM.random((3, 20)))


def draw_lengths(classes=NAMES):
    longest = RANDOM.random(200_000)
    return lengths(longest, RANDOM.random(200_000) < longest)


def draw_pose_space(classes=NAMES):
    return pose_space(RANDOM.normal(size=(60, 16)), np.arange(60) % len(classes), classes)


def draw_examples(classes=NAMES):
    return examples(pixels(len(classes), 4, 1, 6, 7), classes)


def draw_comparison(classes=NAMES):
    return comparison([vars(Row(name, 2, 0.9, 0.01, 0.1, 1000.0, 1.0, 500.0, 10, 0.9, 0.1)) for name in classes[:4]])


def draw_robustness(classes=NAMES):
    points = ((0.1, 0.5), (0.3, 0.0))
    curves = {f"{name}, eps 0.3: 0.995": (np.linspace(0, 1, 9), np.ones(9)) for name in classes[:7]}
    return robustness(0.9, dict.fromkeys(classes[:4], points), dict.fromkeys(classes[:3], 0.5), curves, classes[3])


def draw_scaling(classes=NAMES):
    law = {"factor": 1.0, "exponent": 1.0, "error": 0.1}
    laws = {"time": law, "memory": law}
    row = {"axis": "capsules", "sizes": [16, 64], "seconds": [1.0, 4.0], "bytes": [2**20, 2**22], "laws": laws}
    return scaling([row | {"candidate": name} for name in classes[:3]])


DRAWN = {
    function.__name__.removeprefix("draw_"): function
    for function in (
        draw_reconstructions,
        draw_overlaps,
        draw_poses,
        draw_confusion,
        draw_curves,
        draw_couplings,
        draw_agreement,
        draw_lengths,
        draw_pose_space,
        draw_examples,
        draw_comparison,
        draw_robustness,
        draw_scaling,
    )
}


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def contrast(one, other):
    """The ratio of WCAG 2.2."""
    dark, light = sorted((canvas.luminance(one), canvas.luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def drawn_texts(figure):
    """All texts but the labels of ticks that lie outside the axes."""
    outside = set()
    for axes in figure.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    outside |= {tick.label1, tick.label2}
    found = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    return [text for text in found if text not in outside]


def rendered(figure):
    """The pixels behind the texts, in [0, 1], and where each text stands."""
    agg = FigureCanvasAgg(figure)
    agg.draw()
    figure.set_layout_engine("none")
    shown = drawn_texts(figure)
    places = [text.get_window_extent(agg.get_renderer()) for text in shown]
    for text in shown:
        text.set_visible(False)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3] / 255, shown, places


@pytest.mark.parametrize(("page", "classes"), [("light", NAMES), ("dark", LONG)])
@pytest.mark.parametrize("name", DRAWN)
def test_every_text_lies_on_the_page_stands_out_from_what_is_behind_it_and_names_its_axis(name, page, classes):
    with canvas.theme(page):
        figure = DRAWN[name](classes)
    behind, shown, places = rendered(figure)
    height, width, _ = behind.shape
    assert len(shown) > 3
    for text, place in zip(shown, places, strict=True):
        words = text.get_text()
        assert place.x0 >= -1 and place.y0 >= -1 and place.x1 <= width + 1 and place.y1 <= height + 1, words
        x, y = int((place.x0 + place.x1) / 2), int(height - (place.y0 + place.y1) / 2)
        box = text.get_bbox_patch()
        ground = behind[min(max(y, 0), height - 1), min(max(x, 0), width - 1)] if box is None else box.get_facecolor()
        assert contrast(text.get_color(), ground) >= 4.5, words  # WCAG 2.2, level AA
    where = dict(zip(shown, places, strict=True))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        ticks = [label for label in axis.get_ticklabels() if label in where]
        if any(label.get_text()[-1].isdigit() for label in ticks):
            assert axis.get_label_text() or axis.axes.get_label() == "<colorbar>"
        assert not [one for one, two in itertools.pairwise(ticks) if where[one].count_overlaps([where[two]])]
    level = [text for text in shown if not text.get_rotation() % 90 and text.get_bbox_patch() is None]
    crowded = [(a, b) for a, b in itertools.combinations(level, 2) if where[a].count_overlaps([where[b]])]
    assert not [(a.get_text(), b.get_text()) for a, b in crowded]


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_suffix_gives_the_format(suffix):
    draw_lengths().savefig(f"a.{suffix}")
    begins = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    assert Path(f"a.{suffix}").read_bytes().startswith(begins[suffix])


def test_no_two_classes_look_alike():
    with canvas.theme("light"):
        figure = draw_pose_space()
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in figure.axes[0].collections}
    assert len(looks) == len(NAMES) + 1  # and none for other classes


def test_names_that_are_too_long_keep_the_end_that_tells_them_apart():
    names = canvas.labels([f"a very long name of a class {number}" for number in range(12)], longest=24)
    assert len(set(names)) == 12 and {len(name) for name in names} == {24}
    assert names[0] == "a very long na...class 0" and canvas.labels(["abcdef"], longest=4) == ["a..."]


def test_a_plane_of_poses_leaves_room_beside_it_for_many_long_names():
    widths = []
    for classes in (NAMES[:3], [f"a very long name {number}" for number in range(30)]):
        figure = draw_pose_space(classes)
        figure.draw_without_rendering()
        widths.append(figure.axes[0].get_window_extent().width)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert len(figure.axes[0].texts) == 0  # they would lie upon each other


def test_enlarged_pixels_stay_squares_of_their_colour():
    images = pixels(2, 3, 1, 5, 4)
    sheet = tiles.sheet(images)
    rows, columns = (np.flatnonzero(sheet[..., 3].any(axis=axis)) for axis in (1, 0))
    inner = sheet[np.ix_(rows, columns)].reshape(2, 5, len(rows) // 10, 3, 4, len(columns) // 12, 4)
    squares = inner.transpose(0, 3, 1, 4, 2, 5, 6).reshape(2, 3, 5, 4, -1, 4)
    assert (squares == squares[..., :1, :]).all() and len(rows) // 10 == len(columns) // 12 == 20
    assert np.abs(squares[..., 0, 0] - 255 * images[:, :, 0]).max() <= 0.5
    (shown,) = draw_poses().axes[0].images
    assert shown.get_interpolation() == "nearest"


def test_one_channel_is_grey_three_are_colours_and_of_two_views_one_is_shown():
    images = pixels(1, 1, 3, 4, 4)
    for channels in (1, 2, 3):
        opaque = tiles.sheet(images[:, :, :channels])
        middle = opaque[opaque.shape[0] // 2, opaque.shape[1] // 2, :3]
        assert (len(set(middle.tolist())) == 1) is (channels < 3)


def test_reconstructions_say_label_prediction_and_target_of_each_column():
    true, predicted = np.array([3, 5, 5]), np.array([3, 8, 8])
    names = tuple("abcdefghij")
    figure = reconstructions(pixels(3, 1, 8, 8), pixels(3, 1, 8, 8), true, predicted, np.array([3, 8, 5]), names)
    right, wrong = figure.axes
    assert (right.get_title("left"), wrong.get_title("left")) == ("Predicted right", "Predicted wrong")
    rows = [label.get_text() for label in wrong.get_yticklabels()]
    assert rows == ["true class", "predicted", "rebuilt from", "image", "reconstruction"]
    assert [text.get_text() for text in right.texts] == ["d", "d", "d"]
    assert [text.get_text() for text in wrong.texts] == ["f", "f", "i", "i", "i", "f"]


def test_overlaps_say_what_is_there_predicted_and_rebuilt_and_add_up_both_objects():
    images, objects = pixels(3, 1, 80, 80), pixels(3, 2, 1, 80, 80)
    true, predicted = np.array([[3, 8], [5, 0], [5, 0]]), np.array([[3, 8], [5, 7], [5, 7]])
    figure = overlaps(images, objects, true, predicted, np.array([[3, 8], [5, 7], [5, 0]]), np.array([0, 1, 1]), NAMES)
    said = texts(figure)
    for words in ("L: classes there", "P: predicted", "R: rebuilt from", "Predicted right", f"{NAMES[5]}, {NAMES[7]}"):
        assert words in said
    assert "One class is neither there nor predicted" not in said
    tile = figure.axes[0].images[0].get_array()
    opaque = tile[..., 3] > 0
    column = tile[opaque.any(1)][:, opaque.any(0)]
    assert column.shape[:2] == (4 * 80, 80)
    both, first = column[80:160, :, :3] / 255, column[160:240, :, :3] / 255
    hues = np.array(HUES)
    expected = objects[0, 0, 0, :, :, None] * hues[0]
    assert np.abs(first - expected).max() < 0.003
    assert np.abs(both - (expected + objects[0, 1, 0, :, :, None] * hues[1]).clip(0, 1)).max() < 0.003
    assert hues.sum(0).tolist() == [1, 1, 1]


def test_objects_are_rebuilt_from_the_prediction_the_truth_and_from_what_is_not_there():
    model = network().eval()
    scores = torch.zeros(3, 10)
    scores[:, [1, 2, 3]] = torch.tensor([0.9, 0.8, 0.3])
    seen = views.Seen(torch.rand(3, 1, 8, 8), scores, torch.randn(3, 10, 16), torch.tensor([[2, 1], [2, 5], [1, 2]]))
    found = views.rebuild_objects(model, seen, 10, 5)
    assert found.chosen.tolist() == [0, 2, 1, 1, 0, 2] and found.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.targets.tolist() == [[2, 1], [1, 2], [2, 1], [2, 5], [2, 3], [1, 3]]
    alone = model.rebuild(seen.poses[[1]], torch.tensor([5]))
    torch.testing.assert_close(found.objects[3, 1], alone[0])
    several = Subject(model, seen.images, seen.true, {"a": [[]]})
    for name in fitting(several=True):
        if name != "curves":
            FigureCanvasAgg(FIGURES[name](several)).draw()
    with pytest.raises(NotShown, match="several objects each"):
        FIGURES["reconstructions"](several)


def test_without_labels_reconstructions_say_only_what_is_predicted():
    figure = reconstructions(pixels(1, 1, 8, 8), pixels(1, 1, 8, 8), None, np.array([3]), np.array([3]), NAMES)
    (axes,) = figure.axes
    assert axes.get_yticklabels()[0].get_text() == "predicted" and not axes.get_title("left")


def test_rows_of_poses_are_numbered_by_effect_which_is_printed_with_the_offsets():
    rebuilt = np.zeros((3, 5, 1, 4, 4), np.float32)
    rebuilt[1, -1], rebuilt[2, -1] = 0.25, 0.5
    assert effects(rebuilt).tolist() == [0, 0.25, 0.5]
    axes = poses(rebuilt, np.linspace(-0.1, 0.1, 5), "a").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "1", "0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["−0.10", "−0.05", "0", "+0.05", "+0.10"]
    (right,) = axes.child_axes
    assert [label.get_text() for label in right.get_yticklabels()] == ["0.500", "0.250", "0.000"]
    assert axes.images[0].get_array()[..., 0].max() == 128


@pytest.mark.parametrize("number", [2, 10, 30])
def test_a_matrix_has_the_count_of_every_cell_that_has_one(number):
    counts = np.diag(np.full(number, 900))
    counts[0, 1] = 7
    axes = confusion(counts, tuple(f"class {index}" for index in range(number))).axes[0]
    found = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert found == {(1, 0): "7"} | {(index, index): "900" for index in range(number)}
    assert f"{900 * number:,} of {900 * number + 7:,} right" in axes.get_title()
    assert len(axes.get_xticklabels()) == number


def test_beyond_thirty_classes_the_most_confused_pairs_are_listed():
    counts = np.diag(np.full(1000, 50))
    counts[7, 3], counts[999, 0], counts[1, 2] = 30, 20, 10
    axes = confusion(counts, tuple(f"c{index}" for index in range(1000))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c7 → c3", "c999 → c0", "c1 → c2"]
    assert [bar.get_width() for bar in axes.patches] == [30, 20, 10]
    assert [text.get_text() for text in axes.texts] == ["30 of 80", "20 of 70", "10 of 60"]


def test_names_that_fit_below_their_cells_are_horizontal():
    for names, rotation in ((("cat", "dog"), 0), (LONG, 90)):
        axes = confusion(np.ones((len(names), len(names)), int), names).axes[0]
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {rotation}


@pytest.mark.parametrize("number", [2, 40])
def test_a_network_without_mistakes_or_images_has_a_confusion(number):
    for counts in (np.eye(number, dtype=np.int64), np.zeros((number, number), np.int64)):
        FigureCanvasAgg(confusion(counts, tuple(map(str, range(number))))).draw()


def test_curves_of_several_runs_are_their_mean_within_a_band():
    runs = [(np.array([1.0, 2, 3]), np.array(values)) for values in ([1.0, 2, 3], [3.0, 4, 5])]
    (axes,) = curves({"accuracy": [Curve("a", runs)]}).axes
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_ydata().tolist() == [2, 3, 4] and "a (2 runs)" in texts(axes.figure)
    ys = band.get_paths()[0].vertices[:, 1]
    assert (ys.min(), ys.max()) == (1, 5)


def one_run(name, values):
    return Curve(name, [(np.arange(1.0, len(values) + 1), np.array(values, dtype=float))])


@pytest.mark.parametrize("strange", [[1e3, 1e5, 1e9, np.nan, np.inf], [0.5, 1e7, 0.4, 0.3, 0.2]])
def test_a_run_that_diverges_does_not_make_a_flat_line_of_the_others(strange):
    falling = [0.6, 0.5, 0.4, 0.3, 0.2]
    (axes,) = curves({"loss": [one_run("a", falling), one_run("b", strange)]}).axes
    low, high = axes.get_ylim()
    assert low < 0.2 and 0.6 < high < 6 and axes.get_yscale() == "log"
    highest = max(value for value in strange if np.isfinite(value))
    assert f"b, up to {highest:.3g}" in texts(axes.figure) and "a" in texts(axes.figure)
    (axes,) = curves({"accuracy, %": [one_run("a", [97, 98, 99, 99]), one_run("b", [95, 40, 10, 10])]}).axes
    assert 90 < axes.get_ylim()[0] < 97 and "b, from 10" in texts(axes.figure)


def test_many_curves_are_told_apart_and_their_legend_covers_none():
    kinds = ("train", "last", "ema")
    shown = [
        one_run(f"{run}: {kind}", [1, 2])._replace(of=run, measured=kind != "train") for run in "abc" for kind in kinds
    ]
    with canvas.theme("light"):
        figure = curves({"loss": shown, "accuracy, %": shown})
        FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines]
        assert len(set(looks)) == 9 and [len({colour for colour, *_ in looks[k : k + 3]}) for k in (0, 3, 6)] == [1] * 3
        legend = axes.get_legend().get_window_extent()
        assert legend.y1 < axes.get_window_extent().y0 and legend.y0 >= 0 and legend.x0 >= 0
        assert legend.y1 < axes.xaxis.label.get_window_extent().y0


def test_curves_that_lie_together_are_shown_whole():
    panels = {"loss": [one_run("a", [5, 1, 0.5, 0.2]), one_run("b", [6, 2, 1, 1])]}
    panels["accuracy, %"] = [one_run("a", [90, 95, 98]), one_run("b", [85, 96, 97])]
    loss, accuracy = curves(panels).axes
    assert loss.get_ylim()[0] < 0.2 and loss.get_ylim()[1] > 6 and 80 < accuracy.get_ylim()[0] < 85
    assert texts(loss.figure).count("a") == 2


@pytest.mark.parametrize("number", [2, 4])
def test_attacks_that_do_the_same_are_all_seen_below_and_upon_each_other(number):
    same = dict.fromkeys([*map(str, range(number)), "all"], ((0.1, 0.5), (0.3, 0.1)))
    with canvas.theme("light"):
        figure = robustness(0.9, same, {}, {}, "all")
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["all", *map(str, range(number))]
        axes.get_legend().remove()
        pixels, _, _ = rendered(figure)
    seen = {tuple(pixel) for pixel in (255 * pixels).round().astype(int).reshape(-1, 3)}
    for colour in canvas.PALETTE[:number]:
        assert tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5)) in seen


def test_accuracies_that_lie_together_are_told_apart_and_nothing_is_not_unknown():
    rows = [vars(Row(name, 2, accuracy, 0.001, dead=0.0)) for name, accuracy in (("a", 0.98), ("b", 0.99))]
    accuracy, calibration, *_, dead = comparison(rows).axes
    low, high = accuracy.get_xlim()
    assert low > 97 and high < 100 and dead.get_xlim() == (0, 1)
    assert [text.get_text() for text in calibration.texts] == ["–", "–"]
    assert [text.get_text() for text in dead.texts] == ["0", "0"]  # a bar of no length would look like a missing one


@pytest.mark.parametrize(
    ("speed", "bars", "quantity"), [(0.5, 0.5, "training speed (baseline: 1)"), (None, 3000.0, "training, images/s")]
)
def test_a_comparison_shows_speeds_that_were_measured_in_turns_where_there_are_any(speed, bars, quantity):
    row = vars(Row("a", 2, 0.98, images_per_second=3000.0, speed=speed))
    panel = comparison([row]).axes[2]
    assert panel.get_xlabel() == quantity and panel.patches[0].get_width() == bars


def test_many_steps_are_averaged_and_few_evaluations_are_not():
    steps = np.arange(1.0, 601)
    shown = [Curve("train", [(steps, steps)], measured=False), Curve("validation", [(steps[:5], steps[:5])])]
    (axes,) = curves({"loss": shown}).axes
    train, validation = axes.lines
    assert len(train.get_xdata()) == 60 and train.get_ydata()[0] == 5.5 and train.get_xdata()[-1] == 600
    assert validation.get_ydata().tolist() == [1, 2, 3, 4, 5]


def test_lengths_are_counted_for_right_and_wrong_and_compared_with_accuracy():
    longest, right = np.array([0.91, 0.93, 0.95, 0.35]), np.array([True, True, False, False])
    left, calibration = lengths(longest, right).axes
    assert left.get_legend_handles_labels()[1] == ["right: 2 images", "wrong: 2 images"]
    assert "wrong: 1 image" in texts(lengths(np.array([0.5, 0.9]), np.array([False, True])))
    assert left.get_yscale() == "linear" and all(tick == int(tick) for tick in left.get_yticks())
    line = calibration.lines[1]
    assert np.allclose(line.get_xdata(), [0.35, 0.93]) and np.allclose(line.get_ydata(), [0, 2 / 3])
    expected = (1 * 0.35 + 3 * (0.93 - 2 / 3)) / 4
    assert calibration_error(longest, right) == pytest.approx(expected)


def test_numbers_of_images_stand_apart_however_close_their_lengths_lie():
    longest = np.repeat([0.09, 0.101, 0.199, 0.201, 0.299, 0.301, 0.999], 12_345)
    figure = lengths(longest, longest > 0.2)
    renderer = FigureCanvasAgg(figure).get_renderer()
    starts = [text.get_position()[0] for text in figure.axes[1].texts]
    assert len(starts) == 6 and min(np.diff(starts)) > 0.09
    turned = [text.get_window_extent(renderer) for text in figure.axes[1].texts]
    high = 7 / 72 * canvas.DPI  # of letters
    for one, other in itertools.pairwise(turned):
        assert (other.x0 - one.x0) * np.sin(np.radians(40)) > high


def test_a_plane_of_poses_holds_as_much_of_their_variance_as_any():
    poses = RANDOM.normal(size=(200, 6)) * [0.1, 3, 0.1, 2, 0.1, 0.1]
    points, share = flatten(poses)
    assert np.abs(np.corrcoef(points[:, 0], poses[:, 1])[0, 1]) > 0.99 and share.sum() > 0.98
    assert points.var(axis=0).sum() / poses.var(axis=0).sum() == pytest.approx(share.sum())
    assert flatten(np.ones((3, 1)))[0].tolist() == [[0, 0]] * 3


def test_the_least_shares_and_the_agreement_are_drawn_at_their_iteration():
    entropy = np.array([[1.0, 1.0, 1.0], [0.5, 0.6, 0.7]])
    left, right = agreement(entropy, 2 * entropy, entropy).axes
    assert left.lines[0].get_ydata().tolist() == [1, 0.6] and right.lines[0].get_ydata().tolist() == [2, 1.2]
    assert left.get_xticks().tolist() == [1, 2]


def test_of_a_thousand_classes_the_first_hundred_have_a_row():
    axes = examples(pixels(1000, 2, 1, 4, 4), tuple(map(str, range(1000)))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [str(index) for index in range(100)]
    assert axes.get_ylabel() == "the first 100 of 1,000 classes"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mean", "1"]


# What is shown of a network


def network(**options):
    torch.manual_seed(0)
    return build(RUN.model.replace(**options), (1, 8, 8), NAMES)


def subject(model, number=30):
    split = datasets("digits").build().split("test")
    return Subject(model, split.images[:number], split.labels[:number], {"a": [[]]})


@torch.no_grad()
def test_couplings_are_those_of_the_iterations_and_even_at_first():
    model = network().eval()
    images = torch.rand(3, 1, 8, 8)
    found = iterations.watch(model, images)
    votes, activations = model.class_capsules.votes(model.primary(model.conv(images)))
    logits = torch.zeros(3, votes.num_parts, 10)
    for coupling in found.couplings:
        assert torch.allclose(coupling, logits.softmax(dim=-1), atol=1e-6)
        total = votes.combine(coupling)
        squashed = total * total.norm(dim=-1, keepdim=True) / (1 + total.square().sum(dim=-1, keepdim=True))
        logits = logits + votes.agreement(squashed)
    assert torch.allclose(iterations.entropy(found.couplings)[0], torch.ones(3, dtype=torch.float64))
    assert (iterations.entropy(found.couplings).diff(dim=0) < 0).all()
    weights = activations / activations.sum(dim=1, keepdim=True)
    positions = iterations.maps(found)
    assert positions.shape == (3, 3, 10, 2, 2) and torch.allclose(positions.sum(dim=2), torch.ones(()))
    assert weights.shape == (3, 16)


@pytest.mark.parametrize("routing", ["dynamic", "em", "uniform", "kmeans", "max_min", "self_attention"])
def test_routings_are_seen_or_said_not_to_be_and_are_left_as_they_were(routing):
    model = network(routing=routings(routing)).train()
    images = torch.rand(2, 1, 8, 8)
    before = model.eval()(images).scores
    found = iterations.watch(model, images)
    assert found is None or found.couplings.shape[1:] == (2, 16, 10)
    assert torch.equal(model(images).scores, before)


def test_a_map_lies_where_its_capsules_look():
    model = network().eval()
    found = extent(model, model.class_capsules)
    assert found == (1.5, 5.5, 5.5, 1.5)  # two windows of 3 + 2 pixels, two pixels apart, in 8: middles at 2.5 and 4.5


def test_wrong_predictions_are_rebuilt_from_both_classes_and_right_ones_show_all_classes():
    model = network().eval()
    seen = subject(model, 200).seen
    found = views.rebuild(model, seen, 4, 3)
    right = int((seen.predicted[found.chosen] == seen.true[found.chosen]).sum())
    assert len(found.chosen) == right + 6 and right <= 4
    pairs = found.targets[right:].tolist()
    expected = [c for i in found.chosen[right::2].tolist() for c in (int(seen.predicted[i]), int(seen.true[i]))]
    assert pairs == expected
    again = model.rebuild(seen.poses[found.chosen], found.targets)
    assert torch.equal(found.images, again)


def test_each_number_of_the_pose_is_moved_alone():
    model = network().eval()
    seen = subject(model).seen
    moved = views.perturb(model, seen, torch.tensor([-0.5, 0.0, 0.5]))
    own = model.rebuild(seen.poses[:1], seen.predicted[:1])
    poses = seen.poses[:1].clone()
    poses[:, :, 3] += 0.5
    assert torch.allclose(moved[:, 1], own.expand(16, -1, -1, -1), atol=1e-6)
    assert torch.allclose(moved[3, 2], model.rebuild(poses, seen.predicted[:1])[0], atol=1e-6)


def test_every_figure_is_drawn_of_a_network_or_says_why_not():
    model = network(decoder=decoders("none")).train()
    without = subject(model)
    said = {}
    for name, draw in FIGURES.items():
        try:
            FigureCanvasAgg(draw(without)).draw()
        except NotShown as error:
            said[name] = str(error)
    assert model.training
    none = "the network has no decoder"
    single = "the images have not two objects each, whose classes are known"
    assert said == {
        "reconstructions": none,
        "overlaps": single,
        "poses": none,
        "curves": "no metrics were recorded",
    }
    unknown = replace(without, true=None)
    for name in ("confusion", "lengths", "pose_space"):
        with pytest.raises(NotShown, match="true classes of the images are not known"):
            FIGURES[name](unknown)


def test_networks_without_routing_or_lengths_say_so():
    torch.manual_seed(0)
    other = subject(build(models("cnn"), (1, 8, 8), NAMES))
    other.seen.scores.add_(2)
    for name, why in (("couplings", "no routing"), ("agreement", "no routing"), ("lengths", "no lengths")):
        with pytest.raises(NotShown, match=why):
            FIGURES[name](other)


def test_curves_are_those_of_the_metrics():
    lines = [{"split": "train", "step": step, "loss": 1 / step, "accuracy": 0.5} for step in range(1, 5)]
    lines += [{"split": "validation", "weights": "last", "step": 4, "loss": 0.5, "accuracy": 0.75}]
    drawn = gallery.FIGURES["curves"](replace(subject(network()), lines={"a": [lines, lines]}))
    loss, accuracy = drawn.axes
    assert loss.lines[0].get_ydata().tolist() == [1, 1 / 2, 1 / 3, 1 / 4] and loss.get_yscale() == "log"
    assert accuracy.lines[1].get_ydata().tolist() == [75] and "validation, last weights (2 runs)" in texts(drawn)
