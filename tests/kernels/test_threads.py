"""Work that threads share is all done, as often and as exactly as one thread would do it."""

import os
import threading

import pytest
import torch

from capsnet_dist.kernels import FastConv2d
from capsnet_dist.kernels.threads import PIECES, WORKERS, at_once, share, share_pieces

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def same_threads_afterwards():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 2 * WORKERS + 1])
@pytest.mark.parametrize("number", [0, 1, 2, 20])
def test_each_item_is_done_once(threads, number):
    torch.set_num_threads(threads)
    done, inside = [], set()

    def work(item):
        done.append(item)
        inside.add((torch.get_num_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()))

    with torch.inference_mode():
        at_once(work, range(number), CPU)
    assert sorted(done) == list(range(number))
    workers = min(threads, WORKERS, number)
    assert inside <= {(threads // workers if workers > 1 else threads, False, True)}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("number", [1, 3, PIECES, 100])
def test_a_range_is_done_whole_and_its_pieces_do_not_depend_on_the_threads(threads, number):
    torch.set_num_threads(threads)
    items, pieces = [], []
    share(lambda start, stop: items.extend(range(start, stop)), number)
    share_pieces(lambda some: pieces.extend(map(tuple, some.tolist())), number)
    assert sorted(items) == list(range(number))
    torch.set_num_threads(1)
    alone = []
    share_pieces(lambda some: alone.append(some.tolist()), number)
    assert len(alone) == 1 and sorted(map(list, pieces)) == alone[0]
    assert [item for _, start, stop in alone[0] for item in range(start, stop)] == list(range(number))
    assert [n for n, *_ in alone[0]] == list(range(min(number, PIECES)))


def test_items_are_done_at_the_same_time_on_a_cpu_alone():
    torch.set_num_threads(2)
    met = threading.Barrier(2, timeout=60)
    at_once(lambda _: met.wait(), range(2), CPU)
    threads = set()
    at_once(lambda _: threads.add(threading.get_ident()), range(9), torch.device("cuda", 0))
    assert threads == {threading.get_ident()}


def test_an_error_is_raised_after_all_items():
    torch.set_num_threads(2)
    done = []

    def work(item):
        if item == 0:
            raise ValueError("the first")
        done.append(item)

    with pytest.raises(ValueError, match="the first"):
        at_once(work, range(20), CPU)
    assert sorted(done) == list(range(1, 20))


def test_a_process_that_was_forked_has_threads_of_its_own():
    torch.set_num_threads(2)
    at_once(lambda _: None, range(2), CPU)
    if (pid := os.fork()) == 0:
        done = []
        at_once(done.append, range(2), CPU)
        os._exit(sorted(done) != [0, 1])
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("sizes", [(3, 4, 9, 2), (2, 3, 7, 1, 3), (2, 2, 5, 3)])
def test_a_convolution_does_not_depend_on_the_number_of_threads(sizes):
    torch.manual_seed(0)
    convolution = FastConv2d(*sizes, algorithm="bilinear").double()
    maps = torch.randn(5, sizes[0], 20, 23, dtype=torch.float64, requires_grad=True)

    def found(threads):
        torch.set_num_threads(threads)
        output = convolution(maps)
        return output, *torch.autograd.grad(output.square().sum(), [maps, *convolution.parameters()])

    expected = found(1)
    for threads in (2, 5, 9):
        torch.testing.assert_close(found(threads), expected, rtol=1e-12, atol=1e-12)
