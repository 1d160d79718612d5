"""Vectors of 16 numbers, for loops that numba compiles.

Left to itself, numba vectorises the innermost loop: sums over the 16 numbers of a pose are then sums across the lanes
of a vector, which take as long as the arithmetic. With 16 samples side by side, one in each lane, every loop is that of
one sample, nothing is summed across lanes, and all that is needed is a type that says so.

A `vector` is LLVM's `<16 x float>`: one register with AVX-512, two with AVX, four with NEON. Each operation is an
instruction of LLVM, so that results do not depend on the processor: `fma` rounds once, and an `ordered_loop` adds up in
the order that is written. An argument `n` is a position in a contiguous array of float32, counted as if it were flat;
it is not checked. `rows` are eight vectors, which the compiler keeps in registers.
"""

# pyright: basic
# numba has no stubs, and calls these functions with its own types.

from typing import no_type_check

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
ROWS = 8

FLOAT, INT = ir.FloatType(), ir.IntType(32)
VECTOR, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)


class Vector(types.Type):
    """What numba calls it."""

    def __init__(self) -> None:
        super().__init__(name=f"Float32x{LANES}")


vector = Vector()
rows = types.UniTuple(vector, ROWS)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """What LLVM calls it."""

    @no_type_check
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VECTOR)


@intrinsic
@no_type_check
def load(typing, x, n):
    """The 16 numbers from x[n] on."""
    return vector(x, n), lambda context, b, sig, args: b.load(_at(context, b, sig, args, VECTOR), align=4)


@intrinsic
@no_type_check
def store(typing, x, n, v):
    """Write a vector to the 16 numbers from x[n] on."""

    def emit(context, b, sig, args):
        b.store(args[2], _at(context, b, sig, args, VECTOR), align=4)
        return context.get_dummy_value()

    return types.void(x, n, v), emit


@intrinsic
@no_type_check
def prefetch(typing, x, n):
    """Bring the cache line of x[n] into the first cache; x may end before."""

    def emit(context, b, sig, args):
        where = _at(context, b, sig, args, ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [where.type, INT, INT, INT])
        name = "llvm.prefetch.p0"
        function = b.module.globals.get(name) or ir.Function(b.module, kind, name)
        b.call(function, [where, *(ir.Constant(INT, number) for number in (0, 3, 1))])  # read, all caches, data
        return context.get_dummy_value()

    return types.void(x, n), emit


@intrinsic
@no_type_check
def spread(typing, x, n):
    """x[n] in every lane."""
    return vector(x, n), lambda context, b, sig, args: _splat(b, b.load(_at(context, b, sig, args, FLOAT), align=4))


@intrinsic
@no_type_check
def constant(typing, number):
    """A number in every lane."""
    if not isinstance(number, types.Float):
        return None
    return vector(types.float32), lambda context, b, sig, args: _splat(b, args[0])


@intrinsic
@no_type_check
def fma(typing, x, y, z):
    """x y + z, rounded once."""
    return vector(x, y, z), lambda context, b, sig, args: b.call(_function(b, "fma", 3), args)


@intrinsic
@no_type_check
def add(typing, x, y):
    """x + y."""
    return vector(x, y), lambda context, b, sig, args: b.fadd(*args)


@intrinsic
@no_type_check
def sub(typing, x, y):
    """x - y."""
    return vector(x, y), lambda context, b, sig, args: b.fsub(*args)


@intrinsic
@no_type_check
def mul(typing, x, y):
    """x y."""
    return vector(x, y), lambda context, b, sig, args: b.fmul(*args)


@intrinsic
@no_type_check
def div(typing, x, y):
    """x / y."""
    return vector(x, y), lambda context, b, sig, args: b.fdiv(*args)


@intrinsic
@no_type_check
def larger(typing, x, y):
    """The larger of both in each lane; NaN where y is."""
    return vector(x, y), lambda context, b, sig, args: b.select(b.fcmp_ordered(">", *args), *args)


@intrinsic
@no_type_check
def where_positive(typing, x, y):
    """y where x is positive, else zero."""

    def emit(context, b, sig, args):
        zero = ir.Constant(VECTOR, [0.0] * LANES)
        return b.select(b.fcmp_ordered(">", args[0], zero), args[1], zero)

    return vector(x, y), emit


@intrinsic
@no_type_check
def floor(typing, x):
    """The largest integer that is not larger."""
    return vector(x), lambda context, b, sig, args: b.call(_function(b, "floor", 1), args)


@intrinsic
@no_type_check
def root(typing, x):
    """The square root, rounded once."""
    return vector(x), lambda context, b, sig, args: b.call(_function(b, "sqrt", 1), args)


@intrinsic
@no_type_check
def power_of_two(typing, x):
    """2^x, of integers from -126 to 127: the exponent of a float32."""

    def emit(context, b, sig, args):
        biased = b.add(b.fptosi(args[0], INTS), ir.Constant(INTS, [127] * LANES))
        return b.bitcast(b.shl(biased, ir.Constant(INTS, [23] * LANES)), VECTOR)

    return vector(x), emit


@intrinsic
@no_type_check
def no_rows(typing):
    """Eight vectors of zeros."""
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    return rows(), lambda context, b, sig, args: context.make_tuple(b, rows, [zero] * ROWS)


@intrinsic
@no_type_check
def load_rows(typing, x, n, step):
    """The vectors from x[n], x[n + step], …, x[n + 7 step] on."""

    def emit(context, b, sig, args):
        found = [b.load(_at(context, b, sig, args, VECTOR, at), align=4) for at in _steps(b, args[2])]
        return context.make_tuple(b, rows, found)

    return rows(x, n, step), emit


@intrinsic
@no_type_check
def store_rows(typing, x, n, step, vectors):
    """Write the vectors to x[n], x[n + step], …, x[n + 7 step] on."""

    def emit(context, b, sig, args):
        for v, at in zip(cgutils.unpack_tuple(b, args[3]), _steps(b, args[2]), strict=True):
            b.store(v, _at(context, b, sig, args, VECTOR, at), align=4)
        return context.get_dummy_value()

    return types.void(x, n, step, vectors), emit


@intrinsic
@no_type_check
def stream_rows(typing, x, n, step, vectors):
    """The same past the caches, for what is not needed soon; each vector must begin at a multiple of 64 bytes."""

    def emit(context, b, sig, args):
        for v, at in zip(cgutils.unpack_tuple(b, args[3]), _steps(b, args[2]), strict=True):
            written = b.store(v, _at(context, b, sig, args, VECTOR, at), align=64)
            written.set_metadata("nontemporal", b.module.add_metadata([INT(1)]))
        return context.get_dummy_value()

    return types.void(x, n, step, vectors), emit


@intrinsic
@no_type_check
def load_turned(typing, x, n, step):
    """Of 16 samples, at x[n], x[n + step], …, the first eight numbers: eight vectors, a sample in each lane."""

    def emit(context, b, sig, args):
        eight = ir.VectorType(FLOAT, ROWS)
        places = _steps(b, args[2], LANES)
        samples = [b.load(_at(context, b, sig, args, eight, at), align=4) for at in places]
        both = ir.Constant(INTS, list(range(LANES)))
        pairs = [b.shuffle_vector(*pair, both) for pair in zip(samples[:ROWS], samples[ROWS:], strict=True)]
        return context.make_tuple(b, rows, _turn(b, pairs))

    return rows(x, n, step), emit


@intrinsic
@no_type_check
def store_turned(typing, x, n, step, vectors):
    """The inverse: write eight numbers of each of 16 samples to x[n], x[n + step], …."""

    def emit(context, b, sig, args):
        pairs = _turn(b, cgutils.unpack_tuple(b, args[3]))
        for number, at in enumerate(_steps(b, args[2], LANES)):
            half = [number // ROWS * ROWS + lane for lane in range(ROWS)]
            pair = pairs[number % ROWS]
            sample = b.shuffle_vector(pair, pair, ir.Constant(ir.VectorType(INT, ROWS), half))
            b.store(sample, _at(context, b, sig, args, sample.type, at), align=4)
        return context.get_dummy_value()

    return types.void(x, n, step, vectors), emit


@no_type_check
def _turn(b, vectors):
    """Transpose both halves of eight vectors, each a matrix of eight rows: blocks of 1, 2 and 4 change places."""
    found = list(vectors)
    for d in (1, 2, 4):
        lower = [lane if lane & d == 0 else LANES + lane - d for lane in range(LANES)]
        upper = [lane + d if lane & d == 0 else LANES + lane for lane in range(LANES)]
        for row in (row for row in range(ROWS) if row & d == 0):
            pair = found[row], found[row + d]
            found[row], found[row + d] = (b.shuffle_vector(*pair, ir.Constant(INTS, m)) for m in (lower, upper))
    return found


@intrinsic
@no_type_check
def dot(typing, x, n, vectors, start):
    """start + x[n] vectors[0] + … + x[n + 7] vectors[7]."""

    def emit(context, b, sig, args):
        total = args[3]
        for number, v in enumerate(cgutils.unpack_tuple(b, args[2])):
            total = b.call(_function(b, "fma", 3), [_spread(context, b, sig, args, number), v, total])
        return total

    return vector(x, n, vectors, start), emit


@intrinsic
@no_type_check
def dot_rows(typing, first, second, start):
    """start + first[0] second[0] + … + first[7] second[7], in each lane."""

    def emit(context, b, sig, args):
        total = args[2]
        for x, y in zip(*(cgutils.unpack_tuple(b, arg) for arg in args[:2]), strict=True):
            total = b.call(_function(b, "fma", 3), [x, y, total])
        return total

    return vector(first, second, start), emit


@intrinsic
@no_type_check
def add_multiple(typing, v, vectors, start):
    """Eight vectors with v times eight others added."""

    def emit(context, b, sig, args):
        pairs = zip(*(cgutils.unpack_tuple(b, arg) for arg in args[1:]), strict=True)
        return context.make_tuple(b, rows, [b.call(_function(b, "fma", 3), [args[0], x, y]) for x, y in pairs])

    return rows(v, vectors, start), emit


@intrinsic
@no_type_check
def add_spread(typing, x, n, step, v, vectors):
    """The vectors with x[n] v added to the first, x[n + step] v to the second, …, x[n + 7 step] v to the last."""

    def emit(context, b, sig, args):
        factors = [_splat(b, b.load(_at(context, b, sig, args, FLOAT, at), align=4)) for at in _steps(b, args[2])]
        sums = [
            b.call(_function(b, "fma", 3), [factor, args[3], total])
            for factor, total in zip(factors, cgutils.unpack_tuple(b, args[4]), strict=True)
        ]
        return context.make_tuple(b, rows, sums)

    return rows(x, n, step, v, vectors), emit


@intrinsic
@no_type_check
def rectify_rows(typing, vectors, bias):
    """The vectors with the bias added to each, and zero where that is negative; NaN stays."""

    def emit(context, b, sig, args):
        zero = ir.Constant(VECTOR, [0.0] * LANES)
        sums = [b.fadd(v, args[1]) for v in cgutils.unpack_tuple(b, args[0])]
        kept = [b.select(b.fcmp_ordered("<", v, zero), zero, v) for v in sums]
        return context.make_tuple(b, rows, kept)

    return rows(vectors, bias), emit


@intrinsic
@no_type_check
def add_products(typing, x, n, step, v, vectors):
    """The vectors with v times those from x[n], x[n + step], … on added."""

    def emit(context, b, sig, args):
        sums = [
            b.call(_function(b, "fma", 3), [b.load(_at(context, b, sig, args, VECTOR, at), align=4), args[3], total])
            for total, at in zip(cgutils.unpack_tuple(b, args[4]), _steps(b, args[2]), strict=True)
        ]
        return context.make_tuple(b, rows, sums)

    return rows(x, n, step, v, vectors), emit


@intrinsic
@no_type_check
def add_rows(typing, first, second):
    """The sums of eight vectors and eight others."""

    def emit(context, b, sig, args):
        pairs = zip(*(cgutils.unpack_tuple(b, arg) for arg in args), strict=True)
        return context.make_tuple(b, rows, [b.fadd(*pair) for pair in pairs])

    return rows(first, second), emit


@intrinsic
@no_type_check
def add_lanes(typing, x, n, vectors):
    """Add the sum of the lanes of each vector to x[n], …, x[n + 7].

    Half of the lanes is added to the other half, and two vectors that are half empty become one: 8, 4, 2 vectors, one.
    """

    def emit(context, b, sig, args):
        found, width = cgutils.unpack_tuple(b, args[2]), LANES
        while len(found) > 1:
            half = width // 2
            low = [at for at in range(2 * LANES) if at % width < half]
            found = [_fold(b, *pair, low, half) for pair in zip(found[::2], found[1::2], strict=True)]
            width = half
        sums = _fold(b, found[0], found[0], list(range(0, LANES, 2)), 1)
        where = _at(context, b, sig, args, sums.type)
        b.store(b.fadd(b.load(where, align=4), sums), where, align=4)
        return context.get_dummy_value()

    return types.void(x, n, vectors), emit


@no_type_check
def _fold(b, x, y, low, distance):
    """Of two vectors side by side: each of some lanes plus the lane at a distance from it."""
    first, second = (
        b.shuffle_vector(x, y, ir.Constant(ir.VectorType(INT, len(low)), [at + more for at in low]))
        for more in (0, distance)
    )
    return b.fadd(first, second)


@no_type_check
def _at(context, b, sig, args, kind, more=None):
    """The address of x[n], or of x[n + more], for a number or a vector; x and n are the first arguments."""
    array, n = sig.args[0], args[1]
    assert array.layout == "C" and array.dtype == types.float32, f"{array}: must be contiguous, of float32"
    data = context.make_array(array)(context, b, args[0]).data
    where = b.gep(data, [n if more is None else b.add(n, more)])
    return b.bitcast(where, kind.as_pointer())


@no_type_check
def _steps(b, step, count=ROWS):
    """0, step, 2 step, …: where the rows are."""
    return [b.mul(step, ir.Constant(step.type, number)) for number in range(count)]


@no_type_check
def _spread(context, b, sig, args, more):
    return _splat(b, b.load(_at(context, b, sig, args, FLOAT, ir.Constant(args[1].type, more)), align=4))


@no_type_check
def _splat(b, number):
    one = b.insert_element(ir.Constant(VECTOR, ir.Undefined), number, ir.Constant(INT, 0))
    return b.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), ir.Constant(INTS, [0] * LANES))


@no_type_check
def _function(b, name, count):
    """One of LLVM's own functions of vectors."""
    full = f"llvm.{name}.v{LANES}f32"
    kind = ir.FunctionType(VECTOR, [VECTOR] * count)
    return b.module.globals.get(full) or ir.Function(b.module, kind, full)
