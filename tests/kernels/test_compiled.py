"""Loops that LLVM compiles do what Python does, and what was compiled is found again until it is too old."""

import threading

import numpy as np
import pytest

llvm = pytest.importorskip("llvmlite.binding")
loop_module = pytest.importorskip("capsnet_dist.kernels.llvm.loop")
machine = pytest.importorskip("capsnet_dist.kernels.llvm.machine")
routing_loops = pytest.importorskip("capsnet_dist.kernels.routing.llvm_lanes_loops")
loop, loop_apart = loop_module.loop, loop_module.loop_apart

OFFSET = 3


def remainders(x, start, stop, divisor):
    n = 0
    for a in range(start, stop, 2):
        x[n] = a // divisor
        x[n + 1] = a % divisor
        x[n + 2] = a // 8
        x[n + 3] = -a % 8
        n += 4


def decisions(x, n, flag, sizes):
    for k in range(n):
        if k == 2 and flag:
            continue
        if k > 6 or (not flag and k == 4):
            x[k] = -sizes[1]
            return
        x[k] = smaller_and_larger(k, OFFSET)[0] if k % 2 else max(k, 5) * len(x)
        for factor in (2, sizes[0]):
            x[k] *= factor


@loop
def smaller_and_larger(a, b):
    """Both, in order."""
    if a < b:
        return a, b
    return b, a


def rows_of_integers(x, table):
    for k, start, stop in table:
        row = x[k % len(x)]
        for n in range(start, stop):
            row[n] += k


def parts(x, n, rows, scale):
    height, width = x.shape[1:]
    for row in range(len(x)):
        for k in range(height):
            double_row(x[row], k, np.float32(scale) if n else np.float32(1))
    k, _ = rows
    x[k, 0, width - 1] = np.float32(7)


@loop_apart
def double_row(x, k, scale):
    """A row times a number."""
    for n in range(x.shape[1]):
        x[k, n] = scale * x[k, n]


LAWS = [
    (remainders, (np.zeros(200, np.int64), -21, 21, 5)),
    (remainders, (np.zeros(200, np.int64), -21, 21, -4)),
    (decisions, (np.zeros(9, np.int64), 9, True, (3, 4))),
    (decisions, (np.zeros(9, np.int64), 9, False, (3, 4))),
    (rows_of_integers, (np.zeros((2, 5), np.int64), np.array([[3, 0, 2], [1, 1, 5], [4, 2, 3]]))),
    (parts, (np.arange(24, dtype=np.float32).reshape(2, 3, 4), 1, (1, 2), 0.1)),
    (parts, (np.arange(24, dtype=np.float32).reshape(2, 3, 4), 0, (0, 2), 0.1)),
]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "code"))
    return tmp_path / "code"


@pytest.mark.parametrize(("function", "arguments"), LAWS)
def test_what_is_compiled_does_what_python_does(folder, monkeypatch, function, arguments):
    array, *others = arguments
    found = array.copy()
    loop(function)(found, *others)
    for inner in (smaller_and_larger, double_row):
        monkeypatch.setitem(globals(), inner.function.__name__, inner.function)
    function(array, *others)
    np.testing.assert_array_equal(found, array)


def unknown_statement(x):
    while len(x) > 1:
        return


def another_type(x):
    k = 0
    k = x[0, 0]
    x[0, 0] = k


def row_of_numbers(x):
    x[0] = np.float32(0)


@pytest.mark.parametrize(
    ("function", "words"),
    [(unknown_statement, "While"), (another_type, "k was i64"), (row_of_numbers, "single number")],
)
def test_what_is_not_understood_is_named_with_its_line(folder, function, words):
    with pytest.raises(TypeError, match=words) as caught:
        loop(function)(np.zeros((2, 2), np.float32))
    assert function.__name__ in caught.value.__notes__[0]


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.float32).T, np.zeros(4), "text"])
def test_arguments_that_loops_do_not_take_are_refused(folder, wrong):
    with pytest.raises(TypeError, match="must be"):
        loop(parts)(wrong, 1, (1, 2), 0.1)


def fill(x):
    for n in range(len(x)):
        x[n] = np.float32(n)


def filled():
    x = np.zeros(5, np.float32)
    loop(fill)(x)
    assert x.tolist() == [0, 1, 2, 3, 4]


@pytest.fixture
def compiled(folder, monkeypatch):
    """How often something was compiled."""
    count, machine_code = [], machine.machine_code
    monkeypatch.setattr(machine, "machine_code", lambda text: count.append(1) or machine_code(text))
    filled()
    assert len(count) == 1
    count.clear()
    return count


def test_what_was_compiled_is_found_again_until_a_source_of_the_kernels_changes(compiled, monkeypatch):
    filled()
    assert not compiled
    monkeypatch.setattr(machine, "sources", lambda: "ab" * 32)
    filled()
    filled()
    assert len(compiled) == 1


@pytest.mark.parametrize(
    "damage", [lambda code: code[:-1], lambda code: b"", lambda code: code[:70] + b"x" + code[71:]]
)
def test_a_damaged_file_is_compiled_anew(compiled, folder, damage):
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    filled()
    filled()
    assert len(compiled) == 1


def test_another_processor_has_files_of_its_own(compiled, folder, monkeypatch):
    monkeypatch.setattr(machine, "processor", lambda: "another")
    filled()
    assert len(compiled) == 1 and len(list(folder.iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_done_without_and_what_is_in_it_is_read(compiled, folder, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(machine.os, "replace", refuse)
    filled()
    assert not compiled
    (file,) = folder.iterdir()
    file.unlink()
    filled()
    assert len(compiled) == 1 and not list(folder.iterdir())


def test_a_user_without_a_home_is_done_without(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine.Path, "home", homeless)
    assert [folder.name for folder in machine.folders()] == ["__pycache__"]


def test_who_reads_while_others_write_gets_all_or_nothing(folder):
    file, codes, found = folder / "loop.o", [bytes([n]) * 10**5 for n in range(4)], []

    def work(code):
        for _ in range(20):
            assert machine._write(file, code)
            found.append(machine._read(file))

    workers = [threading.Thread(target=work, args=(code,)) for code in codes]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 80 and set(found) <= set(codes)
    assert list(folder.iterdir()) == [file]


@pytest.mark.skipif(not llvm.get_host_cpu_features().get("avx2"), reason="needs a processor with AVX2")
def test_processors_give_the_same_bits(folder, monkeypatch):
    rng = np.random.default_rng(0)
    u, W, prior, V = (
        rng.standard_normal(shape, dtype=np.float32) for shape in [(16, 6, 8), (6, 20, 8), (6, 4), (1, 20, 16)]
    )

    def totals():
        s, pieces = np.zeros_like(V[None]), np.array([[0, 0, 6]])
        rooms = (np.zeros(shape, np.float32) for shape in [(1, 8, 16), (20, 16), (4, 16)])
        loop(routing_loops.total.function)(u, W, prior, V, False, pieces, s, *rooms)
        return s

    expected = totals()
    monkeypatch.setattr(machine, "host", lambda: ("haswell", "+avx2,+fma"))
    machine.target.cache_clear()
    machine.processor.cache_clear()
    try:
        np.testing.assert_array_equal(totals(), expected)
    finally:
        machine.target.cache_clear()
        machine.processor.cache_clear()


def doubled(x):
    return 2 * x


def test_what_numba_compiled_is_found_again_until_a_source_of_the_kernels_changes(monkeypatch, tmp_path):
    numba = pytest.importorskip("numba")
    from capsnet_dist.kernels import compile_numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    for _ in range(2):
        compiled = compile_numba.loop(doubled)
        assert compiled(1.5) == 3
    assert sum(compiled.stats.cache_hits.values()) == 1
    monkeypatch.setattr(compile_numba, "sources", lambda: "changed")
    compiled = compile_numba.loop(doubled)
    assert compiled(1.5) == 3
    assert sum(compiled.stats.cache_misses.values()) == 1
