"""Tables where nobody looks at a terminal: whatever a program can cut, and a person read in `less`."""

import re
import sys

import pytest

from capsnet_dist.screen.console import print_table


def lines(capsys, columns, rows):
    print_table(columns, rows)
    return capsys.readouterr().out.splitlines()


def test_columns_are_as_wide_as_their_text(capsys):
    assert lines(capsys, ["name", "n"], [["a", "1"], ["longer", "22"]]) == ["name    n", "a       1", "longer  22"]


def test_a_long_cell_pushes_aside_its_own_line_only(capsys):
    rows = [["short", "x"], ["a rather long cell that nobody else in this column needs", "y"], ["", "z"]]
    shown = lines(capsys, ["name", "n"], rows)
    assert shown == ["name   n", "short  x", f"{rows[1][0]}  y", "       z"]


def test_long_cells_are_aligned_where_all_are_long(capsys):
    rows = [["/a/folder/with/a/long/name/one.png", "1"], ["/a/folder/with/a/long/name/eleven.png", "2"]]
    assert {line.rindex(end) for line, end in zip(lines(capsys, ["file", "n"], rows)[1:], "12", strict=True)} == {39}


def test_no_line_ends_in_blanks(capsys):
    assert lines(capsys, ["a", "b"], [["x", ""], ["", ""]]) == ["a  b", "x", ""]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_terminal_that_is_too_narrow_for_a_table_has_several_without_broken_words(width, capsys, monkeypatch):
    columns = ["routing", "accuracy, %", "calibration error", "memory, MiB", "against uniform"]
    row = ["variational_bayes", "98.70 ± 0.43", "0.068", "1,075", "+1.39 ± 0.69: not distinguishable"]
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = [re.sub(r"\x1b\[\d*m", "", line) for line in lines(capsys, columns, [row])]
    assert max(map(len, shown)) <= width
    assert sum("variational_bayes" in line for line in shown) == {40: 4, 60: 2}.get(width, 1)
    for word in ("98.70 ± 0.43", "0.068", "1,075", "+1.39", "distinguishable"):
        assert sum(word in line for line in shown) == 1
