"""Layers: which part stands where, and who competes for it."""

import pytest
import torch

from capsnet_dist import Capsules, Grid, UserError, layers
from capsnet_dist.geometry import Windows

GRID = Grid(types=2, height=5, width=4, dim=3)


def capsules(batch=2, grid=GRID, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(batch, grid.num_capsules, grid.dim, generator=generator, dtype=dtype)
    return Capsules(poses, torch.rand(batch, grid.num_capsules, generator=generator, dtype=dtype))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 0), (3, 2, 1), (2, 2, 0), (4, 1, 0)])
def test_windows_see_what_a_convolution_sees(kernel, stride, padding):
    windows = Windows(GRID, kernel, stride, padding)
    below = capsules()
    maps = below.activations.reshape(2, 2, 5, 4)
    expected = torch.nn.functional.unfold(maps, kernel, padding=padding, stride=stride)  # b (t h w) o
    torch.testing.assert_close(windows.cut(below).activations.reshape(2, -1, 2 * kernel**2), expected.mT)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 0), (3, 2, 1), (2, 2, 0)])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_all_wholes_that_see_a_part_share_it(kernel, stride, padding, scale):
    windows = Windows(GRID, kernel, stride, padding)
    logits = scale * torch.randn(2 * windows.num_windows, 2 * kernel**2, 3, dtype=torch.float64)
    coupling = windows.compete(logits).reshape(2, windows.num_windows, -1, 3)
    logits = logits.reshape(2, windows.num_windows, -1, 3)
    for part in range(GRID.num_capsules):
        seen = windows.index == part
        if seen.any():
            together = logits[:, seen].flatten(1)
            torch.testing.assert_close(coupling[:, seen].flatten(1), together.softmax(dim=1))


def test_a_window_over_the_whole_map_is_a_dense_layer():
    square = Grid(2, 4, 4, 3)
    dense = layers("dense", wholes=3, dim=6).build(square).double()
    convolutional = layers("convolutional", types=3, dim=6, kernel=4).build(square).double()
    convolutional.load_state_dict(dense.state_dict())
    below = capsules(grid=square)
    torch.testing.assert_close(convolutional(below), dense(below))


def test_rows_of_a_matrix_take_the_same_transformation():
    layer = layers("dense", wholes=2, dim=16, rows=4).build(Grid(1, 1, 1, 16)).double()
    below = capsules(1, Grid(1, 1, 1, 16))
    matrix = below.poses.reshape(4, 4)
    from capsnet_dist import Votes

    votes = Votes(below.poses, layer.weight).dense()
    for whole in range(2):
        expected = matrix @ layer.weight[0, whole].T
        torch.testing.assert_close(votes[0, 0, whole], expected.flatten())


def test_poses_that_do_not_divide_into_rows_are_refused():
    with pytest.raises(UserError, match="do not divide into 4 rows"):
        layers("dense", rows=4).build(GRID)


def test_a_map_smaller_than_the_window_is_refused():
    with pytest.raises(UserError, match="4 positions is too small for a kernel of 5"):
        layers("convolutional", kernel=5).build(GRID)
