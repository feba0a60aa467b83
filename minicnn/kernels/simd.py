"""Vector registers: the register tile, which is behind every convolution and dense layer, and vectors as values, in
which all other kernels are written.

Both are LLVM instructions, written through Numba's `@intrinsic`: left to itself the compiler finds the tile never, and
vectors only sometimes. Everything works on addresses (integers, in bytes) and checks nothing.

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
is loaded and stored under a mask, which costs nothing; and if half a register is enough for what is left, it is one of
W/2 floats, of which some processors (Zen 4) multiply twice as many in the same time.

Where channels stay apart, as in a depthwise convolution, a has the index n as well: the tile loads vectors of a where it
copies numbers else. There every k stands for a few terms t that lie side by side, as the rows do, so that what one row
has loaded of a serves its neighbours,

    c[r, n] = Σ_p Σ_q Σ_k Σ_t  a[p, q, k, r + t, n] · b[p, q, k, t, n]

The vectors.  `load(address, lanes, zero)` gives the numbers at an address as a `Vector` of W lanes, with `lanes` of them
if that is less than W, and `store` writes as many; +, -, *, /, comparisons and `select` work lane by lane. The argument
`zero`, which every kernel has, is 0 in the number type of the arrays and tells which type that is.

The panel.  A tile covers a few rows; `panel` runs it over a grid of I × J tiles (lines × pixels of an image, say), in
one native function per tile shape and number type, compiled when it is first asked for and then kept on disk. What
differs from call to call (strides, counts) is read from an int64 array, the geometry: the columns of that array are the
names in `FIELDS`.
"""

import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

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
BIAS, ACCUMULATE = 1, 2  # of "start"
SMALLEST = 16  # bytes in the smallest vector register of any processor

i1, i32, i64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


@cache
def vector_registers() -> tuple[int, int]:
    """(bytes in a vector register, number of such registers) of the processor that Numba compiles for.

    Asked of the compiler itself: an addition of 64 bytes is compiled, and the names of the registers in its assembly
    tell their width.
    """
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    if not triple.startswith("x86_64"):
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


def tile_rows(vectors: int) -> int:
    """The most rows of a tile with so many vectors in each, of any number type.

    Three quarters of the registers hold sums; the rest has the vectors of b and one broadcast.
    """
    registers = vector_registers()[1]
    return min(registers * 3 // 4, registers - vectors - 1) // vectors


def tile_shape(rows: int, channels: int, dtype: np.dtype[Any]) -> tuple[int, int]:
    """(R, V): the largest tile for a product of so many rows and channels whose sums stay in registers.

    Two vectors per row halve the broadcasts; where rows are few (a 3×3 kernel on one channel has three), four vectors
    keep enough sums going.
    """
    vectors = 4 if rows <= tile_rows(4) and channels >= 4 * lanes(dtype) else 2
    vectors = min(vectors, -(-channels // lanes(dtype)))
    return tile_rows(vectors), vectors


def apart_shape(rows: int, terms: int) -> tuple[int, int]:
    """`tile_shape` where channels stay apart and so many terms lie side by side: registers also hold a row of b for each."""
    registers = vector_registers()[1] - 1
    vectors = next((v for v in (4, 2) if (rows + min(rows, terms) + 1) * v <= registers), 1)
    return (rows if vectors > 1 else min(registers - 1 - terms, tile_rows(1))), vectors


def last_width(channels: int, dtype: np.dtype[Any]) -> int:
    """W, or W/2 where that is enough for the channels of a tile's last vector and still a register."""
    half = lanes(dtype) // 2
    return half if channels <= half and half * dtype.itemsize >= SMALLEST else 2 * half


def in_vectors(channels: int, dtype: np.dtype[Any]) -> int:
    """How many lanes so many channels take: those of whole registers and of the last one."""
    rest = channels % lanes(dtype)
    return channels - rest + (last_width(rest, dtype) if rest else 0)


def lanes_of(number: types.Type) -> int:
    return lanes(np.dtype(str(number)))


def _broadcast(builder: ir.IRBuilder, scalar: ir.Value, width: int) -> ir.Value:
    """A vector with one number in all lanes."""
    undefined = ir.Constant(ir.VectorType(scalar.type, width), ir.Undefined)
    first = builder.insert_element(undefined, scalar, i32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(i32, width), [0] * width))


class Emitter:
    """Writes vector instructions for one number type into the function that Numba is compiling.

    Its vectors have W lanes unless told. Addresses are integers, in bytes. A mask, where one is given, says which lanes
    are loaded (the others are 0) or stored.
    """

    def __init__(self, builder: ir.IRBuilder, dtype: str, width: int | None = None) -> None:
        self.builder = builder
        self.number = {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]
        self.size, self.width = np.dtype(dtype).itemsize, width or lanes(np.dtype(dtype))
        self.vector = ir.VectorType(self.number, self.width)
        self.zero = self.constant(0.0)
        self.bytes = ir.VectorType(ir.IntType(8), self.width)

    def constant(self, value: float) -> ir.Value:
        return ir.Constant(self.vector, [float(value)] * self.width)

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        return _broadcast(self.builder, scalar, self.width)

    def mask(self, count: ir.Value) -> ir.Value:
        """True in the first `count` lanes."""
        lane = ir.Constant(ir.VectorType(i64, self.width), list(range(self.width)))
        return self.builder.icmp_signed("<", lane, self.broadcast(count))

    def load(self, address: ir.Value, mask: ir.Value | None = None, vector: ir.Type | None = None) -> ir.Value:
        """A vector of numbers, or of what `vector` says."""
        vector = vector or self.vector
        pointer, align = self.builder.inttoptr(address, vector.as_pointer()), 1 if vector is self.bytes else self.size
        if mask is None:
            return self.builder.load(pointer, align=align)
        kind = ir.FunctionType(vector, [pointer.type, i32, mask.type, vector])
        name = f"llvm.masked.load.v{self.width}{'i8' if vector is self.bytes else f'f{8 * self.size}'}.p0"
        masked_load = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(masked_load, [pointer, i32(align), mask, ir.Constant(vector, None)])

    def store(self, value: ir.Value, address: ir.Value, mask: ir.Value | None = None) -> None:
        bytes_ = value.type == self.bytes
        pointer, align = self.builder.inttoptr(address, value.type.as_pointer()), 1 if bytes_ else self.size
        if mask is None:
            self.builder.store(value, pointer, align=align)
            return
        kind = ir.FunctionType(ir.VoidType(), [value.type, pointer.type, i32, mask.type])
        name = f"llvm.masked.store.v{self.width}{'i8' if bytes_ else f'f{8 * self.size}'}.p0"
        masked_store = cgutils.get_or_insert_function(self.builder.module, kind, name)
        self.builder.call(masked_store, [value, pointer, i32(align), mask])

    def load_number(self, address: ir.Value) -> ir.Value:
        return self.builder.load(self.builder.inttoptr(address, self.number.as_pointer()), align=self.size)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a · b + c; "contract" lets a processor that has a fused instruction use it, and asks nothing of one without."""
        return self.builder.fadd(self.builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))

    def positive(self, x: ir.Value) -> ir.Value:
        """max(x, 0); what is not a number stays so."""
        return self.above(x, self.zero)

    def above(self, x: ir.Value, floor: ir.Value) -> ir.Value:
        """max(x, floor); what is not a number stays so."""
        return self.builder.select(self.builder.fcmp_ordered(">", floor, x), floor, x)

    def at(self, address: ir.Value, stride: ir.Value, times: ir.Value | int) -> ir.Value:
        """address + stride · times"""
        steps = times if isinstance(times, ir.Value) else i64(times)
        return self.builder.add(address, self.builder.mul(stride, steps))

    def grid(
        self, address: ir.Value, row: ir.Value, rows: int, column: ir.Value, columns: int
    ) -> Iterator[list[ir.Value]]:
        """The addresses of so many rows, one after the other, each of so many columns; `row` and `column` are strides."""
        offsets = [self.builder.mul(column, i64(k)) for k in range(columns)]
        for _ in range(rows):
            yield [self.builder.add(address, offset) for offset in offsets]
            address = kept(self.builder, self.builder.add(address, row))


def kept(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """The same address, passed through empty assembly: LLVM, not knowing how it was computed, keeps it in a register.

    A processor adds a multiple of a second register to an address at no cost. Left alone, LLVM gives each of many
    addresses a register of its own, runs out of registers, and recomputes the addresses each time.
    """
    nothing = ir.InlineAsm(ir.FunctionType(i64, [i64]), "", "=r,0")
    return builder.call(nothing, [address])


REACH = 8  # rows that are addressed from one pointer


@contextmanager
def _counted(
    builder: ir.IRBuilder, count: ir.Value, starts: list[ir.Value], steps: list[ir.Value]
) -> Iterator[list[ir.Value]]:
    """A loop of `count` rounds over addresses, which move by `steps` from round to round."""
    before = builder.block
    body, end = builder.append_basic_block("round"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, i64(0)), body, end)
    builder.position_at_end(body)
    left = builder.phi(i64)
    left.add_incoming(count, before)
    addresses = [builder.phi(i64) for _ in starts]
    for address, start in zip(addresses, starts, strict=True):
        address.add_incoming(start, before)
    yield addresses
    for address, step in zip(addresses, steps, strict=True):
        address.add_incoming(kept(builder, builder.add(address, step)), builder.block)
    fewer = builder.sub(left, i64(1))
    left.add_incoming(fewer, builder.block)
    builder.cbranch(builder.icmp_signed(">", fewer, i64(0)), body, end)
    builder.position_at_end(end)


def _tile(
    emitters: list[Emitter],
    rows: int,
    masked: bool,
    field: Callable[[str], ir.Value],
    a: ir.Value,
    b: ir.Value,
    bias: ir.Value,
    c: ir.Value,
    apart: int,
) -> None:
    """Emits one tile, each vector of a row by its own emitter; `field(name)` is a number of the geometry, whose strides
    become bytes here. Where channels stay apart, `apart` is the number of terms side by side, else 0."""
    emit, last = emitters[0], emitters[-1]
    builder, at = emit.builder, emit.at
    mask = last.mask(field("lanes")) if masked else None

    def stride(name: str) -> ir.Value:
        return builder.mul(field(name), i64(emit.size))

    def vectors(address: ir.Value) -> Iterator[tuple[int, Emitter, ir.Value, ir.Value | None]]:
        """Number, emitter, address and mask of the vectors of a row of b or c that begins at this address; `apart` also of a."""
        for v, emitter in enumerate(emitters):
            place = builder.add(address, i64(v * emit.width * emit.size))
            yield v, emitter, place, mask if emitter is last else None

    # The sums are variables on the stack in this text; LLVM keeps them in registers.
    sums = [[cgutils.alloca_once(builder, emitter.vector) for emitter in emitters] for _ in range(rows)]
    a_row, c_row = stride("a_row"), stride("c_row")
    for row in sums:
        for emitter, place in zip(emitters, row, strict=True):
            builder.store(emitter.zero, place)
    with builder.if_then(builder.icmp_signed("==", field("start"), i64(BIAS))):
        for v, emitter, place, lanes in vectors(bias):
            start = emitter.load(place, lanes)
            for row in sums:
                builder.store(start, row[v])
    with builder.if_then(builder.icmp_signed("==", field("start"), i64(ACCUMULATE))):
        for r, row in enumerate(sums):
            for v, emitter, place, lanes in vectors(at(c, c_row, r)):
                builder.store(emitter.load(place, lanes), row[v])

    a_p, a_q, a_k, b_p, b_q, b_k = map(stride, ("a_p", "a_q", "a_k", "b_p", "b_q", "b_k"))
    a_offset = [builder.mul(a_row, i64(r)) for r in range(rows + max(1, apart) - 1)]
    with (
        _counted(builder, field("P"), [a, b], [a_p, b_p]) as outer,
        _counted(builder, field("Q"), outer, [a_q, b_q]) as (a_middle, b_middle),
    ):
        starts = [b_middle, *(builder.add(a_middle, offset) for offset in a_offset[::REACH])]
        with _counted(builder, field("K"), starts, [b_k, *[a_k] * len(starts[1:])]) as (b_inner, *a_inner):
            b_rows = []
            for r in range(len(a_offset)):
                if r < max(1, apart):
                    b_row = builder.add(b_inner, a_offset[r])
                    b_rows.append([emitter.load(place, lanes) for _, emitter, place, lanes in vectors(b_row)])
                address = builder.add(a_inner[r // REACH], a_offset[r % REACH])
                if apart:
                    a_vectors = [emitter.load(place, lanes) for _, emitter, place, lanes in vectors(address)]
                else:
                    number = emit.load_number(address)
                    a_vectors = [emitter.broadcast(number) for emitter in emitters]
                for t, b_vectors in enumerate(b_rows):
                    if 0 <= r - t < rows:
                        terms = zip(emitters, a_vectors, b_vectors, sums[r - t], strict=True)
                        for emitter, a_vector, b_vector, place in terms:
                            builder.store(emitter.multiply_add(a_vector, b_vector, builder.load(place)), place)

    with builder.if_then(builder.icmp_signed("==", field("relu"), i64(1))):
        for row in sums:
            for emitter, place in zip(emitters, row, strict=True):
                builder.store(emitter.positive(builder.load(place)), place)
    for r, row in enumerate(sums):
        for v, emitter, place, lanes in vectors(at(c, c_row, r)):
            emitter.store(builder.load(row[v]), place, lanes)


@intrinsic(prefer_literal=True)
def tile(typing, number, rows, vectors, last, masked, apart, geometry, a, b, bias, c):
    """One tile of the type and shape given by literals; `geometry` and the four operands are byte addresses.

    The last of the vectors in a row has `last` lanes, and a mask if that is said.
    """
    count, width, mask, terms = (argument.literal_value for argument in (vectors, last, masked, apart))
    signature = types.void(number, rows, vectors, last, masked, apart, *[types.intp] * 5)

    def generate(context, builder, signature, arguments):
        geometry, a, b, bias, c = arguments[6:]

        def field(name: str) -> ir.Value:
            address = builder.add(geometry, i64(8 * FIELD[name]))
            number = builder.load(builder.inttoptr(address, i64.as_pointer()))
            number.set_metadata("invariant.load", builder.module.add_metadata([]))
            return number

        dtype = number.literal_value
        emitters = [Emitter(builder, dtype)] * (count - 1) + [Emitter(builder, dtype, width)]
        _tile(emitters, rows.literal_value, mask, field, a, b, bias, c, terms)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def int_at(typing, address):
    """The int64 at a byte address."""

    def generate(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], i64.as_pointer()))

    return types.intp(types.intp), generate


@intrinsic
def call(typing, function, *arguments):
    """Calls the native function at the address `function`, which takes integers and returns nothing."""

    def generate(context, builder, signature, values):
        function, arguments = values[0], list(cgutils.unpack_tuple(builder, values[1]))
        kind = ir.FunctionType(ir.VoidType(), [i64] * len(arguments))
        builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return types.void(types.intp, types.StarArgTuple([types.intp] * len(arguments))), generate


@cache
def panel(rows: int, vectors: int, last: int, masked: bool, dtype: str, apart: int = 0) -> int:
    """Address of the native function that runs tiles of `rows` × `vectors`, the last of `last` lanes, over a grid.

    It takes five addresses: the geometry, a, b, the bias and c.
    """
    name = f"panel_{dtype}_{rows}x{vectors}_{last}" + "_masked" * masked + f"_{apart}" * bool(apart)
    size = np.dtype(dtype).itemsize
    i_count, j_count, a_i, a_j, b_i, c_i, c_j = (
        8 * FIELD[name] for name in ("I", "J", "a_i", "a_j", "b_i", "c_i", "c_j")
    )

    def grid(geometry, a, b, bias, c):
        for _ in range(int_at(geometry + i_count)):
            a_tile, c_tile = a, c
            for _ in range(int_at(geometry + j_count)):
                tile(dtype, rows, vectors, last, masked, apart, geometry, a_tile, b, bias, c_tile)
                a_tile += size * int_at(geometry + a_j)
                c_tile += size * int_at(geometry + c_j)
            a += size * int_at(geometry + a_i)
            b += size * int_at(geometry + b_i)
            c += size * int_at(geometry + c_i)

    return native(types.void(*[types.intp] * 5), grid, name)


# ---------------------------------------------------------------------- vectors as values


class Vector(types.Type):
    """The type of W numbers in one register: of floats, of int64 (random bits), int32 (positions) or of truth values."""

    def __init__(self, number: types.Type, width: int) -> None:
        self.number, self.width = number, width
        super().__init__(f"vector({number} x {width})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        number = i1 if vector.number is types.boolean else manager.lookup(vector.number).get_data_type()
        super().__init__(manager, vector, ir.VectorType(number, vector.width))


def _define(
    symbol: Any, emit: Callable[[ir.IRBuilder, bool, list[ir.Value]], ir.Value], compares: bool = False
) -> None:
    """Makes an operator of Python work on two vectors of one type."""

    @infer_global(symbol)
    class Template(AbstractTemplate):
        def generic(self, arguments: Any, keywords: Any) -> Any:
            if len(arguments) == 2 and isinstance(arguments[0], Vector) and arguments[0] == arguments[1]:
                result = Vector(types.boolean, arguments[0].width) if compares else arguments[0]
                return signature(result, *arguments)
            return None

    @lower_builtin(symbol, Vector, Vector)
    def lower(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        return emit(builder, isinstance(signature.args[0].number, types.Float), arguments)


for _symbol, _float, _int in (("add", "fadd", "add"), ("sub", "fsub", "sub"), ("mul", "fmul", "mul")):
    for _name in (_symbol, "i" + _symbol):
        _define(
            getattr(operator, _name),
            lambda builder, real, pair, _float=_float, _int=_int: (
                getattr(builder, _float)(*pair, flags=("contract",)) if real else getattr(builder, _int)(*pair)
            ),
        )
_define(operator.truediv, lambda builder, real, pair: builder.fdiv(*pair))
_define(operator.xor, lambda builder, real, pair: builder.xor(*pair))
_define(operator.and_, lambda builder, real, pair: builder.and_(*pair))
_define(operator.rshift, lambda builder, real, pair: builder.lshr(*pair))
for _symbol, _sign in (("gt", ">"), ("ge", ">="), ("le", "<="), ("eq", "==")):
    _define(
        getattr(operator, _symbol),
        lambda builder, real, pair, _sign=_sign: (
            builder.fcmp_ordered(_sign, *pair) if real else builder.icmp_unsigned(_sign, *pair)
        ),
        compares=True,
    )


def _masked(emit: "Emitter", lanes: ir.Value, whole: Callable[[], None], part: Callable[[ir.Value], None]) -> None:
    """`whole()` where all lanes are wanted, else `part(mask)`: masked access is slow on some processors."""
    with emit.builder.if_else(emit.builder.icmp_signed(">=", lanes, i64(emit.width))) as (then, otherwise):
        with then:
            whole()
        with otherwise:
            part(emit.mask(lanes))


def _load(emit: "Emitter", address: ir.Value, lanes: ir.Value, vector: ir.Type) -> ir.Value:
    found = cgutils.alloca_once(emit.builder, vector)
    _masked(
        emit,
        lanes,
        lambda: emit.builder.store(emit.load(address, None, vector), found),
        lambda mask: emit.builder.store(emit.load(address, mask, vector), found),
    )
    return emit.builder.load(found)


@intrinsic
def load(typing, address, lanes, zero):
    """The numbers at an address; those beyond `lanes` are 0."""
    vector = Vector(zero, lanes_of(zero))

    def generate(context, builder, signature, arguments):
        emit = Emitter(builder, str(zero))
        return _load(emit, *arguments[:2], emit.vector)

    return vector(types.intp, types.intp, zero), generate


@intrinsic
def store(typing, vector, address, lanes):
    """Writes the first `lanes` numbers of a vector."""

    def generate(context, builder, signature, arguments):
        emit = Emitter(builder, str(vector.number))
        value, address, lanes = arguments
        _masked(emit, lanes, lambda: emit.store(value, address), lambda mask: emit.store(value, address, mask))
        return context.get_dummy_value()

    return types.void(vector, types.intp, types.intp), generate


@intrinsic
def fill(typing, value, zero):
    """A vector with one number, of zero's type, in all lanes."""

    def generate(context, builder, signature, arguments):
        number = context.cast(builder, arguments[0], value, zero)
        return _broadcast(builder, number, lanes_of(zero))

    return Vector(zero, lanes_of(zero))(value, zero), generate


@intrinsic
def fill_integer(typing, value, zero):
    """A vector with one int64 in all lanes, as many as a vector of zero's type has."""

    def generate(context, builder, signature, arguments):
        return _broadcast(builder, context.cast(builder, arguments[0], value, types.int64), lanes_of(zero))

    return Vector(types.int64, lanes_of(zero))(value, zero), generate


@intrinsic
def select(typing, condition, yes, no):
    """Lane by lane `yes` where the condition holds, else `no`."""

    def generate(context, builder, signature, arguments):
        return builder.select(*arguments)

    return yes(condition, yes, no), generate


@intrinsic
def square_root(typing, vector):
    def generate(context, builder, signature, arguments):
        (value,) = arguments
        name = f"llvm.sqrt.v{vector.width}f{vector.number.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(value.type, [value.type]), name)
        return builder.call(function, [value])

    return vector(vector), generate


@intrinsic
def raised(typing, vector, exponent):
    """Each number to the power of the one in the same place."""

    def generate(context, builder, signature, arguments):
        kind, name = arguments[0].type, f"llvm.pow.v{vector.width}f{vector.number.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, kind]), name)
        return builder.call(function, arguments)

    return vector(vector, vector), generate


@intrinsic
def load_bytes(typing, address, lanes, zero):
    """Unsigned bytes at an address as a vector of numbers; those beyond `lanes` are 0."""

    def generate(context, builder, signature, arguments):
        emit = Emitter(builder, str(zero))
        return builder.uitofp(_load(emit, *arguments[:2], emit.bytes), emit.vector)

    return Vector(zero, lanes_of(zero))(types.intp, types.intp, zero), generate


@intrinsic
def store_bytes(typing, vector, address, lanes):
    """Writes the first `lanes` of a vector of whole numbers from 0 to 255 as bytes."""

    def generate(context, builder, signature, arguments):
        emit = Emitter(builder, str(vector.number))
        value, address, lanes = arguments
        value = builder.trunc(builder.fptosi(value, ir.VectorType(i32, emit.width)), emit.bytes)
        _masked(emit, lanes, lambda: emit.store(value, address), lambda mask: emit.store(value, address, mask))
        return context.get_dummy_value()

    return types.void(vector, types.intp, types.intp), generate


@intrinsic
def count_up(typing, first, zero):
    """first, first + 1, … as a vector of int64."""
    width = lanes_of(zero)

    def generate(context, builder, signature, arguments):
        steps = ir.Constant(ir.VectorType(i64, width), list(range(width)))
        return builder.add(_broadcast(builder, arguments[0], width), steps)

    return Vector(types.int64, width)(types.intp, zero), generate


@intrinsic(prefer_literal=True)
def interleave(typing, a, b, c, d, quarter):
    """The lower halves of a[0], b[0], c[0], d[0], a[1], b[1], …: of these 4·W numbers a quarter, named by a literal."""
    width, which = a.width, quarter.literal_value
    vector = Vector(types.uint32, width)

    def generate(context, builder, signature, arguments):
        halves = [builder.trunc(argument, ir.VectorType(i32, width)) for argument in arguments[:4]]
        both = ir.Constant(ir.VectorType(i32, 2 * width), list(range(2 * width)))
        ab, cd = builder.shuffle_vector(*halves[:2], both), builder.shuffle_vector(*halves[2:], both)
        places = [index % 4 * width + index // 4 for index in range(which * width, (which + 1) * width)]
        return builder.shuffle_vector(ab, cd, ir.Constant(ir.VectorType(i32, width), places))

    return vector(a, b, c, d, quarter), generate


@intrinsic(prefer_literal=True)
def without_first(typing, vector, lanes):
    """The vector moved down by a literal number of lanes."""
    down = lanes.literal_value

    def generate(context, builder, signature, arguments):
        places = [min(lane + down, vector.width - 1) for lane in range(vector.width)]
        return builder.shuffle_vector(arguments[0], arguments[0], ir.Constant(ir.VectorType(i32, vector.width), places))

    return vector(vector, lanes), generate


@intrinsic
def reaches(typing, vector, limit):
    """Where a vector of uint32 is at least `limit`."""

    def generate(context, builder, signature, arguments):
        value, limit = arguments
        return builder.icmp_unsigned(">=", value, _broadcast(builder, builder.trunc(limit, i32), vector.width))

    return Vector(types.boolean, vector.width)(vector, types.intp), generate


# ---------------------------------------------------------------------- numbers at addresses


@intrinsic
def size_of(typing, zero):
    """Bytes of a number of zero's type."""
    return types.intp(zero), lambda context, builder, signature, arguments: i64(zero.bitwidth // 8)


@intrinsic
def width_of(typing, zero):
    """W for numbers of zero's type."""
    return types.intp(zero), lambda context, builder, signature, arguments: i64(lanes_of(zero))


@intrinsic
def number_at(typing, address, zero):
    """The number at an address."""

    def generate(context, builder, signature, arguments):
        return Emitter(builder, str(zero)).load_number(arguments[0])

    return zero(types.intp, zero), generate


@intrinsic
def put(typing, value, address, zero):
    """Writes one number, of zero's type, to an address."""

    def generate(context, builder, signature, arguments):
        number = context.cast(builder, arguments[0], value, zero)
        builder.store(number, builder.inttoptr(arguments[1], number.type.as_pointer()), align=zero.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(value, types.intp, zero), generate


@intrinsic
def real(typing, bits):
    """The float64 whose bits an integer argument carries."""
    return types.float64(types.intp), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.DoubleType()
    )


@intrinsic
def copy(typing, source, target, size):
    """Copies so many bytes, which do not overlap."""

    def generate(context, builder, signature, arguments):
        source, target, size = arguments
        pointers = [builder.inttoptr(address, ir.IntType(8).as_pointer()) for address in (target, source)]
        kind = ir.FunctionType(ir.VoidType(), [pointers[0].type, pointers[0].type, i64, i1])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.memcpy.p0.p0.i64")
        builder.call(function, [*pointers, size, i1(0)])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@intrinsic(prefer_literal=True)
def prefetch(typing, address, size, writing):
    """Has so many bytes come into the cache, to be read or, with the literal 1, written soon; the program does not wait."""
    purpose = writing.literal_value

    def generate(context, builder, signature, arguments):
        address, size = arguments[:2]
        fetch = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), i32, i32, i32]),
            "llvm.prefetch.p0",
        )
        with cgutils.for_range_slice(builder, i64(0), size, i64(64)) as (offset, _):
            pointer = builder.inttoptr(builder.add(address, offset), ir.IntType(8).as_pointer())
            builder.call(fetch, [pointer, i32(purpose), i32(2), i32(1)])  # second-level cache, data
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, writing), generate


@intrinsic
def clear(typing, target, size):
    """Sets so many bytes to zero."""

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, ir.IntType(8), i64, i1])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.memset.p0.i64")
        builder.call(function, [pointer, ir.IntType(8)(0), arguments[1], i1(0)])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def transpose_block(typing, source, source_row, target, target_row, zero):
    """Transposes W × W numbers; the rows of both lie so many bytes apart.

    In log2(W) rounds two rows that are W/2, W/4, … 1 apart exchange the halves that belong to the other.
    """

    def generate(context, builder, signature, arguments):
        emit = Emitter(builder, str(zero))
        source, source_row, target, target_row = arguments[:4]
        rows = [emit.load(emit.at(source, source_row, i)) for i in range(emit.width)]
        distance = emit.width // 2
        while distance:
            upper = [lane if not lane & distance else emit.width + lane - distance for lane in range(emit.width)]
            lower = [lane + distance if not lane & distance else emit.width + lane for lane in range(emit.width)]
            indices = [ir.Constant(ir.VectorType(i32, emit.width), half) for half in (upper, lower)]
            for i in range(emit.width):
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = (builder.shuffle_vector(*pair, half) for half in indices)
            distance //= 2
        for i, row in enumerate(rows):
            emit.store(row, emit.at(target, target_row, i))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4, zero), generate
