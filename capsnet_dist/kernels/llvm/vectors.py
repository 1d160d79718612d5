"""Vectors of 16 numbers, for loops.

With samples side by side, one in each lane, every loop is that of one sample, nothing is summed across lanes, and all
that is needed is a type that says so. Left to vectorise loops over the 16 numbers of a pose, a compiler would make sums
across the lanes of a vector, which take as long as the arithmetic.

A vector is LLVM's `<16 x float>`: one register with AVX-512, two with AVX, four with NEON. Each operation is an
instruction of LLVM, so that results do not depend on the processor: `fma` rounds once, and sums are in the order that
is written. An argument `n` is a position in a contiguous array of float32, counted as if it were flat; it is not
checked. `rows` are eight vectors, which the compiler keeps in registers.
"""

# pyright: basic
# llvmlite has no stubs.

from typing import no_type_check

import llvmlite.ir as ir

from capsnet_dist.kernels.llvm.values import LANES, SINGLE, VECTOR, Intrinsic

ROWS = 8

INT = ir.IntType(32)
INTS = ir.VectorType(INT, LANES)


@Intrinsic
@no_type_check
def load(b, x, n):
    """The 16 numbers from x[n] on."""
    return b.load(_at(b, x, n, VECTOR), align=4)


@Intrinsic
@no_type_check
def store(b, x, n, v):
    """Write a vector to the 16 numbers from x[n] on."""
    b.store(v, _at(b, x, n, VECTOR), align=4)


@Intrinsic
@no_type_check
def prefetch(b, x, n):
    """Bring the cache line of x[n] into the first cache; x may end before."""
    where = _at(b, x, n, ir.IntType(8))
    kind = ir.FunctionType(ir.VoidType(), [where.type, INT, INT, INT])
    name = "llvm.prefetch.p0"
    function = b.module.globals.get(name) or ir.Function(b.module, kind, name)
    b.call(function, [where, *(ir.Constant(INT, number) for number in (0, 3, 1))])  # read, all caches, data


@Intrinsic
@no_type_check
def spread(b, x, n):
    """x[n] in every lane."""
    return _spread(b, x, n)


@Intrinsic
@no_type_check
def constant(b, number):
    """A number in every lane."""
    return _splat(b, number)


@Intrinsic
@no_type_check
def fma(b, x, y, z):
    """x y + z, rounded once."""
    return _fma(b, x, y, z)


@Intrinsic
@no_type_check
def add(b, x, y):
    """x + y."""
    return b.fadd(x, y)


@Intrinsic
@no_type_check
def sub(b, x, y):
    """x - y."""
    return b.fsub(x, y)


@Intrinsic
@no_type_check
def mul(b, x, y):
    """x y."""
    return b.fmul(x, y)


@Intrinsic
@no_type_check
def div(b, x, y):
    """x / y."""
    return b.fdiv(x, y)


@Intrinsic
@no_type_check
def larger(b, x, y):
    """The larger of both in each lane; NaN where y is."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


@Intrinsic
@no_type_check
def where_positive(b, x, y):
    """y where x is positive, else zero."""
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    return b.select(b.fcmp_ordered(">", x, zero), y, zero)


@Intrinsic
@no_type_check
def floor(b, x):
    """The largest integer that is not larger."""
    return b.call(_function(b, "floor", 1), [x])


@Intrinsic
@no_type_check
def root(b, x):
    """The square root, rounded once."""
    return b.call(_function(b, "sqrt", 1), [x])


@Intrinsic
@no_type_check
def power_of_two(b, x):
    """2^x, of integers from -126 to 127: the exponent of a float32."""
    biased = b.add(b.fptosi(x, INTS), ir.Constant(INTS, [127] * LANES))
    return b.bitcast(b.shl(biased, ir.Constant(INTS, [23] * LANES)), VECTOR)


@Intrinsic
@no_type_check
def no_rows(b):
    """Eight vectors of zeros."""
    return (ir.Constant(VECTOR, [0.0] * LANES),) * ROWS


@Intrinsic
@no_type_check
def load_rows(b, x, n, step):
    """The vectors from x[n], x[n + step], …, x[n + 7 step] on."""
    found = [b.load(_at(b, x, n, VECTOR, at), align=4) for at in _steps(b, step)]
    return tuple(found)


@Intrinsic
@no_type_check
def store_rows(b, x, n, step, vectors):
    """Write the vectors to x[n], x[n + step], …, x[n + 7 step] on."""
    for v, at in zip(vectors, _steps(b, step), strict=True):
        b.store(v, _at(b, x, n, VECTOR, at), align=4)


@Intrinsic
@no_type_check
def stream_rows(b, x, n, step, vectors):
    """The same past the caches, for what is not needed soon; each vector must begin at a multiple of 64 bytes."""
    for v, at in zip(vectors, _steps(b, step), strict=True):
        written = b.store(v, _at(b, x, n, VECTOR, at), align=64)
        written.set_metadata("nontemporal", b.module.add_metadata([INT(1)]))


@Intrinsic
@no_type_check
def load_turned(b, x, n, step):
    """Of 16 samples, at x[n], x[n + step], …, the first eight numbers: eight vectors, a sample in each lane."""
    eight = ir.VectorType(SINGLE, ROWS)
    places = _steps(b, step, LANES)
    samples = [b.load(_at(b, x, n, eight, at), align=4) for at in places]
    both = ir.Constant(INTS, list(range(LANES)))
    pairs = [b.shuffle_vector(*pair, both) for pair in zip(samples[:ROWS], samples[ROWS:], strict=True)]
    return tuple(_turn(b, pairs))


@Intrinsic
@no_type_check
def store_turned(b, x, n, step, vectors):
    """The inverse: write eight numbers of each of 16 samples to x[n], x[n + step], …."""
    pairs = _turn(b, vectors)
    for number, at in enumerate(_steps(b, step, LANES)):
        half = [number // ROWS * ROWS + lane for lane in range(ROWS)]
        pair = pairs[number % ROWS]
        sample = b.shuffle_vector(pair, pair, ir.Constant(ir.VectorType(INT, ROWS), half))
        b.store(sample, _at(b, x, n, sample.type, at), align=4)


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


@Intrinsic
@no_type_check
def dot(b, x, n, vectors, start):
    """start + x[n] vectors[0] + … + x[n + 7] vectors[7]."""
    total = start
    for number, v in enumerate(vectors):
        total = _fma(b, _spread(b, x, n, ir.Constant(n.type, number)), v, total)
    return total


@Intrinsic
@no_type_check
def dot_rows(b, first, second, start):
    """start + first[0] second[0] + … + first[7] second[7], in each lane."""
    total = start
    for x, y in zip(first, second, strict=True):
        total = _fma(b, x, y, total)
    return total


@Intrinsic
@no_type_check
def add_multiple(b, v, vectors, start):
    """Eight vectors with v times eight others added."""
    pairs = zip(vectors, start, strict=True)
    return tuple([_fma(b, v, x, y) for x, y in pairs])


@Intrinsic
@no_type_check
def add_spread(b, x, n, step, v, vectors):
    """The vectors with x[n] v added to the first, x[n + step] v to the second, …, x[n + 7 step] v to the last."""
    factors = [_spread(b, x, n, at) for at in _steps(b, step)]
    sums = [_fma(b, factor, v, total) for factor, total in zip(factors, vectors, strict=True)]
    return tuple(sums)


@Intrinsic
@no_type_check
def rectify_rows(b, vectors, bias):
    """The vectors with the bias added to each, and zero where that is negative; NaN stays."""
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    sums = [b.fadd(v, bias) for v in vectors]
    kept = [b.select(b.fcmp_ordered("<", v, zero), zero, v) for v in sums]
    return tuple(kept)


@Intrinsic
@no_type_check
def add_products(b, x, n, step, v, vectors):
    """The vectors with v times those from x[n], x[n + step], … on added."""
    sums = [
        _fma(b, b.load(_at(b, x, n, VECTOR, at), align=4), v, total)
        for total, at in zip(vectors, _steps(b, step), strict=True)
    ]
    return tuple(sums)


@Intrinsic
@no_type_check
def add_rows(b, first, second):
    """The sums of eight vectors and eight others."""
    pairs = zip(first, second, strict=True)
    return tuple([b.fadd(*pair) for pair in pairs])


@Intrinsic
@no_type_check
def add_lanes(b, x, n, vectors):
    """Add the sum of the lanes of each vector to x[n], …, x[n + 7].

    Half of the lanes is added to the other half, and two vectors that are half empty become one: 8, 4, 2 vectors, one.
    """
    found, width = vectors, LANES
    while len(found) > 1:
        half = width // 2
        low = [at for at in range(2 * LANES) if at % width < half]
        found = [_fold(b, *pair, low, half) for pair in zip(found[::2], found[1::2], strict=True)]
        width = half
    sums = _fold(b, found[0], found[0], list(range(0, LANES, 2)), 1)
    where = _at(b, x, n, sums.type)
    b.store(b.fadd(b.load(where, align=4), sums), where, align=4)


@no_type_check
def _fold(b, x, y, low, distance):
    """Of two vectors side by side: each of some lanes plus the lane at a distance from it."""
    first, second = (
        b.shuffle_vector(x, y, ir.Constant(ir.VectorType(INT, len(low)), [at + more for at in low]))
        for more in (0, distance)
    )
    return b.fadd(first, second)


@no_type_check
def _at(b, x, n, kind, more=None):
    """The address of x[n], or of x[n + more], for a number or a vector."""
    if x.data.type.pointee != SINGLE:
        raise TypeError(f"array of {x.data.type.pointee}: must be of float32")
    where = b.gep(x.data, [n if more is None else b.add(n, more)])
    return b.bitcast(where, kind.as_pointer())


@no_type_check
def _steps(b, step, count=ROWS):
    """0, step, 2 step, …: where the rows are."""
    return [b.mul(step, ir.Constant(step.type, number)) for number in range(count)]


@no_type_check
def _spread(b, x, n, more=None):
    return _splat(b, b.load(_at(b, x, n, SINGLE, more), align=4))


@no_type_check
def _fma(b, x, y, z):
    return b.call(_function(b, "fma", 3), [x, y, z])


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
