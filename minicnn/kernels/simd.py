"""The register tile: the one piece of arithmetic behind every convolution and every dense layer.

It is written as LLVM instructions through Numba's `@intrinsic`, because no compiler finds this code by itself, and it
runs at the limit of the multiply-add units.

The product.  All sums of products in this library have one shape,

    c[r, n] = Σ_p Σ_q Σ_k  a[p, q, k, r] · b[p, q, k, n]

with r a few rows (pixels of an output line, images of a batch, taps of a kernel), n consecutive output channels, and
three nested sums (rows of the kernel, columns of the kernel, channels; or lines and pixels of an image). Only strides
tell one product from another.

The tile.  A processor with vectors of W floats keeps R × V vectors of c in registers: R rows times V·W channels. One
step of the sum loads V vectors of b, and for each row one number of a, copied to all lanes ("broadcast"), and does R·V
multiply-adds with them:

             b[k, 0:W]   b[k, W:2W]           V loads
    a[k,0] →  c[0,0:W]    c[0,W:2W]
    a[k,1] →  c[1,0:W]    c[1,W:2W]           R broadcasts, R·V multiply-adds
      ⋮          ⋮            ⋮
    a[k,R-1]→ c[R-1,0:W]  c[R-1,W:2W]

Two multiply-add units with a latency of four cycles need eight independent sums to stay busy; 24 of them also hide the
loads. The result goes to memory once, at the end. When the number of channels is not a multiple of W, the last vector
is loaded and stored under a mask, which costs nothing.

The panel.  A tile covers a few rows; `panel` runs it over a grid of I × J tiles (lines × pixels of an image, say), in
one native function per tile shape and number type, compiled when it is first asked for and then kept on disk. What
differs from call to call (strides, counts) is read from an int64 array, the geometry: the columns of that array are the
names in `FIELDS`.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .jit import native

FIELDS = (
    "I", "J",               # the grid of tiles
    "a_i", "a_j",           # strides between the tiles of the grid, in elements
    "b_i",
    "c_i", "c_j",
    "a_row", "c_row",       # strides between the rows of one tile
    "P", "Q", "K",          # the three nested sums: number of terms
    "a_p", "a_q", "a_k",    # and strides in a
    "b_p", "b_q", "b_k",    # and in b
    "lanes",                # channels in the last vector of the tile
    "start",                # c starts from 0: zero, 1: the bias, 2: what is in memory
    "relu",                 # 1: negative results become zero
)  # fmt: skip
FIELD = {name: column for column, name in enumerate(FIELDS)}
ZERO, BIAS, ACCUMULATE = 0, 1, 2

i1, i32, i64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


@cache
def vector_registers() -> tuple[int, int]:
    """(bytes in a vector register, number of such registers) of the processor that Numba compiles for.

    Asked of the compiler itself: an addition of 64 bytes is compiled, and the names of the registers in its assembly
    tell their width.
    """
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    if not triple.startswith(("x86_64", "i686", "i386")):
        return 16, 32
    vector = ir.VectorType(ir.FloatType(), 16)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(vector, [vector, vector]), "add")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.fadd(*function.args))
    machine = llvmlite.binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    assembly = machine.emit_assembly(llvmlite.binding.parse_assembly(str(module)))
    widths = {"zmm": (64, 32), "ymm": (32, 16)}
    return next((widths[name] for name in widths if re.search(name, assembly)), (16, 16))


def lanes(dtype: np.dtype[Any]) -> int:
    """W: how many numbers of this type a vector register holds."""
    return vector_registers()[0] // dtype.itemsize


def tile_shape(rows: int, channels: int, dtype: np.dtype[Any]) -> tuple[int, int]:
    """(R, V): the largest tile for a product of so many rows and channels whose sums stay in registers.

    Three quarters of the registers hold sums; the rest holds the vectors of b and the broadcast. Two vectors per row
    halve the broadcasts; where rows are few (a 3×3 kernel on one channel has three), four vectors keep enough sums
    going.
    """
    most = vector_registers()[1] * 3 // 4
    vectors = 4 if 4 * rows <= most and channels >= 4 * lanes(dtype) else 2
    vectors = min(vectors, -(-channels // lanes(dtype)))
    return most // vectors, vectors


class Emitter:
    """Writes vector instructions for one number type into the function that Numba is compiling.

    Addresses are integers, in bytes. A mask, where one is given, says which lanes are loaded (the others are 0) or
    stored.
    """

    def __init__(self, builder: ir.IRBuilder, dtype: str) -> None:
        self.builder = builder
        self.number = {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]
        self.size, self.width = np.dtype(dtype).itemsize, lanes(np.dtype(dtype))
        self.vector = ir.VectorType(self.number, self.width)
        self.zero = self.constant(0.0)
        self.suffix = f"v{self.width}f{8 * self.size}.p0"

    def constant(self, value: float) -> ir.Value:
        return ir.Constant(self.vector, [float(value)] * self.width)

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        """A vector with one number in all lanes."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.width), ir.Undefined)
        all_lane_0 = ir.Constant(ir.VectorType(i32, self.width), [0] * self.width)
        first = self.builder.insert_element(undefined, scalar, i32(0))
        return self.builder.shuffle_vector(first, undefined, all_lane_0)

    def mask(self, count: ir.Value) -> ir.Value:
        """True in the first `count` lanes."""
        lane = ir.Constant(ir.VectorType(i64, self.width), list(range(self.width)))
        return self.builder.icmp_signed("<", lane, self.broadcast(count))

    def pointer(self, address: ir.Value) -> ir.Value:
        return self.builder.inttoptr(address, self.vector.as_pointer())

    def load(self, address: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        if mask is None:
            return self.builder.load(self.pointer(address), align=self.size)
        kind = ir.FunctionType(self.vector, [self.vector.as_pointer(), i32, mask.type, self.vector])
        masked_load = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.masked.load." + self.suffix)
        return self.builder.call(masked_load, [self.pointer(address), i32(self.size), mask, self.zero])

    def store(self, value: ir.Value, address: ir.Value, mask: ir.Value | None = None) -> None:
        if mask is None:
            self.builder.store(value, self.pointer(address), align=self.size)
            return
        kind = ir.FunctionType(ir.VoidType(), [self.vector, self.vector.as_pointer(), i32, mask.type])
        masked_store = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.masked.store." + self.suffix)
        self.builder.call(masked_store, [value, self.pointer(address), i32(self.size), mask])

    def load_number(self, address: ir.Value) -> ir.Value:
        return self.builder.load(self.builder.inttoptr(address, self.number.as_pointer()), align=self.size)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a · b + c; "contract" lets a processor that has a fused instruction use it, and asks nothing of one without."""
        return self.builder.fadd(self.builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))

    def positive(self, x: ir.Value) -> ir.Value:
        """max(x, 0); what is not a number stays so."""
        return self.builder.select(self.builder.fcmp_ordered("<=", x, self.zero), self.zero, x)

    def at(self, address: ir.Value, stride: ir.Value, times: ir.Value | int) -> ir.Value:
        """address + stride · times"""
        steps = times if isinstance(times, ir.Value) else i64(times)
        return self.builder.add(address, self.builder.mul(stride, steps))


def _tile(
    emit: Emitter,
    rows: int,
    vectors: int,
    masked: bool,
    field: Callable[[str], ir.Value],
    a: ir.Value,
    b: ir.Value,
    bias: ir.Value,
    c: ir.Value,
) -> None:
    """Emits one tile; `field(name)` is a number of the geometry, whose strides become bytes here."""
    builder, at = emit.builder, emit.at
    mask = emit.mask(field("lanes"))

    def stride(name: str) -> ir.Value:
        return builder.mul(field(name), i64(emit.size))

    def part(address: ir.Value, v: int) -> tuple[ir.Value, ir.Value | None]:
        """Where the v-th vector of a row lies, and its mask."""
        return builder.add(address, i64(v * emit.width * emit.size)), mask if masked and v == vectors - 1 else None

    # The sums are variables on the stack in this text; LLVM keeps them in registers.
    sums = [[cgutils.alloca_once(builder, emit.vector) for _ in range(vectors)] for _ in range(rows)]
    a_row, c_row = stride("a_row"), stride("c_row")
    for r in range(rows):
        for v in range(vectors):
            builder.store(emit.zero, sums[r][v])
    with builder.if_then(builder.icmp_signed("==", field("start"), i64(BIAS))):
        for v in range(vectors):
            start = emit.load(*part(bias, v))
            for r in range(rows):
                builder.store(start, sums[r][v])
    with builder.if_then(builder.icmp_signed("==", field("start"), i64(ACCUMULATE))):
        for r in range(rows):
            for v in range(vectors):
                builder.store(emit.load(*part(at(c, c_row, r), v)), sums[r][v])

    a_p, a_q, a_k, b_p, b_q, b_k = map(stride, ("a_p", "a_q", "a_k", "b_p", "b_q", "b_k"))
    a_offset = [builder.mul(a_row, i64(r)) for r in range(rows)]
    with cgutils.for_range(builder, field("P")) as outer:
        a_outer, b_outer = at(a, a_p, outer.index), at(b, b_p, outer.index)
        with cgutils.for_range(builder, field("Q")) as middle:
            a_middle, b_middle = at(a_outer, a_q, middle.index), at(b_outer, b_q, middle.index)
            with cgutils.for_range(builder, field("K")) as inner:
                a_inner, b_inner = at(a_middle, a_k, inner.index), at(b_middle, b_k, inner.index)
                b_vectors = [emit.load(*part(b_inner, v)) for v in range(vectors)]
                for r in range(rows):
                    a_vector = emit.broadcast(emit.load_number(builder.add(a_inner, a_offset[r])))
                    for v in range(vectors):
                        builder.store(emit.multiply_add(a_vector, b_vectors[v], builder.load(sums[r][v])), sums[r][v])

    with builder.if_then(builder.icmp_signed("==", field("relu"), i64(1))):
        for r in range(rows):
            for v in range(vectors):
                builder.store(emit.positive(builder.load(sums[r][v])), sums[r][v])
    for r in range(rows):
        for v in range(vectors):
            emit.store(builder.load(sums[r][v]), *part(at(c, c_row, r), v))


@intrinsic(prefer_literal=True)
def tile(typing, number, rows, vectors, masked, geometry, a, b, bias, c):  # type: ignore[no-untyped-def]
    """One tile of the type, shape and mask given by literals; `geometry` and the four operands are byte addresses."""
    shape = [argument.literal_value for argument in (rows, vectors, masked)]
    signature = types.void(number, rows, vectors, masked, *[types.intp] * 5)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        geometry, a, b, bias, c = arguments[4:]

        def field(name: str) -> ir.Value:
            address = builder.add(geometry, i64(8 * FIELD[name]))
            return builder.load(builder.inttoptr(address, i64.as_pointer()))

        _tile(Emitter(builder, number.literal_value), *shape, field, a, b, bias, c)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def int_at(typing, address):  # type: ignore[no-untyped-def]
    """The int64 at a byte address."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load(builder.inttoptr(arguments[0], i64.as_pointer()))

    return types.intp(types.intp), generate


@intrinsic
def call(typing, function, *arguments):  # type: ignore[no-untyped-def]
    """Calls the native function at the address `function`, which takes integers and returns nothing."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        function, arguments = values[0], list(cgutils.unpack_tuple(builder, values[1]))
        kind = ir.FunctionType(ir.VoidType(), [i64] * len(arguments))
        builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return types.void(types.intp, types.StarArgTuple([types.intp] * len(arguments))), generate


@cache
def panel(rows: int, vectors: int, masked: bool, dtype: str) -> int:
    """Address of the native function that runs tiles of `rows` × `vectors` over a grid.

    It takes five addresses: the geometry, a, b, the bias and c.
    """
    size = np.dtype(dtype).itemsize
    i_count, j_count, a_i, a_j, b_i, c_i, c_j = (
        8 * FIELD[name] for name in ("I", "J", "a_i", "a_j", "b_i", "c_i", "c_j")
    )

    def grid(geometry, a, b, bias, c):  # type: ignore[no-untyped-def]
        for i in range(int_at(geometry + i_count)):
            for j in range(int_at(geometry + j_count)):
                a_tile = a + size * (i * int_at(geometry + a_i) + j * int_at(geometry + a_j))
                c_tile = c + size * (i * int_at(geometry + c_i) + j * int_at(geometry + c_j))
                b_tile = b + size * i * int_at(geometry + b_i)
                tile(dtype, rows, vectors, masked, geometry, a_tile, b_tile, bias, c_tile)

    return native(types.void(*[types.intp] * 5), grid, f"panel_{dtype}_{rows}x{vectors}" + "_masked" * masked)
