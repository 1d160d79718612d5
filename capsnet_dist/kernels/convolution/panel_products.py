"""The bilinear convolution in panels: a thread does one or two of them from the weight to the result, all in its cache.

`function` has the plain twin, which says what is computed.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.convolution.panel_work import share_panels
from capsnet_dist.kernels.convolution.panels import (
    CHANNELS,
    DEPTH,
    KNOWN,
    PAD,
    ROWS,
    evaluate,
    full_maps,
    full_weight,
    input_windows,
    output_windows,
    phase_count,
    phases,
    step,
    table,
)
from capsnet_dist.kernels.convolution.pieces import empty_where_written, pieces
from capsnet_dist.kernels.convolution.tiling import Tiling
from capsnet_dist.kernels.scratch import scratch


def convolve(
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    bias: Float[Tensor, " n"],
    tiling: Tiling,
    known: Float[Tensor, "panels factors"] | None,
    kept: list[Tensor] | None,
) -> Float[Tensor, "y x b n"]:
    """The convolution, positions first; `known` is what `transform_weight` gave, `kept` gets the transformed input."""
    from capsnet_dist.kernels.convolution import llvm_panel_layout_loops, llvm_panel_loops

    loops: Any = llvm_panel_loops
    layout: Any = llvm_panel_layout_loops
    parts, whole, w = pieces(tiling, maps), pieces(tiling, maps)[0].algorithm.outputs, full_weight(weight)
    outputs, channels, _ = w.shape
    x = transform_maps(maps, tiling)
    batch = len(maps) + -len(maps) % ROWS
    work = share_panels(tiling, parts, w, outputs // CHANNELS, batch)
    sides = [side.tiles * side.tile for side in (tiling.rows, tiling.columns)]
    y = maps.new_empty(*sides, batch, outputs)
    windows, places = output_windows(y, tiling), phases(parts, work.samples, channels, work.tap)
    (matrices, transforms), (of_x, of_w) = table([*work.taps, whole]), (x.numpy(), w.numpy())
    factors = w.new_empty(0, 0) if known is None else known
    flat, panel = factors.flatten().numpy(), factors.shape[1]

    def panels(first: int, together: int) -> None:
        of_taps, (products, *rooms, values) = work.taps_room(), work.room([whole], work.samples)
        if known is None:
            layout.panels_of_outputs(of_w, first, together, of_taps, work.tap)
        of = matrices, transforms[:-1], transforms[-1], of_taps, *work.steps, flat, first * panel, panel
        loops.convolve(of_x, places, *of, channels, together, work.samples, products, *rooms, values)
        where = windows.starts[0], *windows[2:], CHANNELS * first
        layout.tiles_of(values, together, *where, matrices, transforms[-1], windows.maps, False, rooms[0])

    work.share(panels)
    result = y[: tiling.rows.outputs, : tiling.columns.outputs, : len(maps), : len(weight)]
    result += bias
    if kept is not None:
        kept.append(x)
    return result


def gradients(
    gradient: Float[Tensor, "b n y x"],
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    tiling: Tiling,
    kept: list[Tensor],
    wanted: tuple[bool, ...],
) -> tuple[Float[Tensor, "b c h w"] | None, Float[Tensor, "n c k l"] | None]:
    """Those by maps and weight, if they are wanted; the input that was kept is given up."""
    from capsnet_dist.kernels.convolution import llvm_panel_layout_loops, llvm_panel_loops

    loops: Any = llvm_panel_loops
    layout: Any = llvm_panel_layout_loops
    rows, columns, _ = tiling
    parts, whole, w = pieces(tiling, maps), pieces(tiling, maps)[0].algorithm.outputs, full_weight(weight)
    outputs, channels, _ = w.shape
    x = w.new_empty(0) if not wanted[1] else kept.pop() if kept else transform_maps(maps, tiling)
    ragged = (0, columns.tiles * columns.tile - columns.outputs, 0, rows.tiles * rows.tile - rows.outputs)
    g = full_maps(gradient, ragged)
    batch = g.shape[2]
    work = share_panels(tiling, parts, w, channels // CHANNELS, batch)
    d_m = work.samples * outputs + PAD
    d = scratch("products", w, sum(whole.sizes) * d_m)
    evaluate(whole, output_windows(g, tiling), outputs, d, d_m)
    inputs = [piece.algorithm.inputs for piece in parts for _ in range(phase_count(piece))]
    places, count = phases(parts, work.samples, channels, work.tap), len(inputs)
    matrices, transforms = table([*work.taps, *inputs, whole])
    sides = [side.padding + side.length + side.missing for side in (rows, columns)]
    by_maps = empty_where_written(w.new_empty(*sides, batch, channels), tiling) if wanted[0] else None
    by_weight = torch.empty_like(w) if wanted[1] else None
    of_d, of_x, of_w = d.numpy(), x.numpy(), w.numpy()

    def panels(first: int, together: int) -> None:
        of_taps, sizes = work.taps_room(), (outputs, together, work.samples)
        if by_maps is not None:
            products, *rooms, values = work.room(inputs, work.samples)
            layout.panels_of_inputs(of_w, first, together, of_taps, work.tap, False)
            windows = [(each, of) for each in (input_windows(by_maps, piece) for piece in parts) for of in each.starts]
            for n, (window, starts) in enumerate(windows):
                of = places[n], matrices, transforms[n], transforms[count + n], transforms[-1], of_taps, *work.steps
                loops.input_gradient(of_d, d_m, *of, *sizes, products, *rooms, values)
                where = starts, *window[2:], CHANNELS * first, matrices, transforms[count + n], window.maps
                layout.tiles_of(values, together, *where, tiling.tiles > 1, rooms[0])
        if by_weight is not None:
            products, _, _, values = work.room(work.taps, DEPTH)
            for n in range(count):
                of = places[n], first, matrices, transforms[n], transforms[-1], of_taps, *work.steps
                loops.weight_gradient(of_d, d_m, of_x, *of, *sizes, products, values)
            layout.panels_of_inputs(by_weight.numpy(), first, together, of_taps, work.tap, True)

    work.share(panels)
    if by_maps is not None:
        inner = by_maps[rows.padding :, columns.padding :, : len(maps), : maps.shape[1]]
        by_maps = rearrange(inner[: rows.length, : columns.length], "h w b c -> b c h w")
    if by_weight is not None:
        by_weight = by_weight[: len(weight), : weight.shape[1]].reshape(weight.shape)
    return by_maps, by_weight


def transform_weight(weight: Float[Tensor, "n c k l"], tiling: Tiling) -> Float[Tensor, "panels factors"]:
    """G w of all phases, panel by panel, for as long as the weight stays as it is."""
    from capsnet_dist.kernels.convolution import llvm_panel_layout_loops, llvm_panel_loops

    loops: Any = llvm_panel_loops
    layout: Any = llvm_panel_layout_loops
    parts, w = pieces(tiling, weight), full_weight(weight)
    outputs, channels, _ = w.shape
    work = share_panels(tiling, parts, w, outputs // CHANNELS, ROWS)
    matrices, transforms = table(work.taps)
    factors = w.new_empty(work.number, sum(sum(t.sizes) for t in work.taps) * CHANNELS * channels)
    places, of_w = phases(parts, 0, channels, work.tap), w.numpy()
    target = factors.flatten().numpy()

    def panels(first: int, together: int) -> None:
        of_taps, values = work.taps_room(), work.room(work.taps, ROWS)[1]
        for panel in range(first, first + together):
            layout.panels_of_outputs(of_w, panel, 1, of_taps, work.tap)
            for n, of in enumerate(places):
                at = panel * factors.shape[1] + int(of[KNOWN])
                loops.known_factors(of_taps, of, *work.steps, channels, matrices, transforms[n], target, at, values)

    work.share(panels)
    return factors


def transform_maps(maps: Float[Tensor, "b c h w"], tiling: Tiling) -> Float[Tensor, " factors"]:
    """A x of all phases, piece by piece, in new memory."""
    rows, columns, _ = tiling
    x = full_maps(maps, (columns.padding, columns.missing, rows.padding, rows.missing))
    parts, (_, _, batch, channels) = pieces(tiling, maps), x.shape
    steps = [step(piece, batch * tiling.tiles * channels) for piece in parts]
    sizes = [sum(piece.algorithm.inputs.sizes) * each for piece, each in zip(parts, steps, strict=True)]
    factors = x.new_empty(sum(sizes))
    for piece, each, part in zip(parts, steps, factors.split(sizes), strict=True):
        evaluate(piece.algorithm.inputs, input_windows(x, piece), channels, part, each)
    return factors
