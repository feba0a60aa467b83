// The product of a tile of rows of A (BM of them) with a tile of columns of B (BN), the core of every convolution and dense
// layer. Both go through shared memory BK deep, STAGES of them under way at a time; each warp adds up WM x WN numbers.
//
// FAST: on tensor cores, the factors rounded to TF32 (10 bits of mantissa), the sums in float32. Otherwise exact, for both
// number types. A thread holds the same sums either way. With group = lane / 4 and t = lane % 4 it has the rows of `row_of`
// and, of every 32 columns, the eight that begin at 8 t: the tensor core's layout, with the columns of B dealt to it in such
// an order that each thread loads, and stores, neighbours.
#pragma once
#include "common.cuh"

#ifndef BM
#define BM 64
#define BN 64
#define WM 32
#define WN 32
#endif
#ifndef BK
#define BK 16
#endif
#ifndef STAGES
#define STAGES 3
#endif
#ifndef VEC_A  // numbers of A that lie together and are copied together; of B
#define VEC_A 1
#define VEC_B 1
#endif
#ifndef FAST
#define FAST 0
#endif
#ifndef BLOCKS  // that a processor must have registers for, see `Tile.resident`
#define BLOCKS 1
#endif

constexpr int WARP_COLUMNS = BN / WN, THREADS = BM / WM * WARP_COLUMNS * 32;
constexpr int B_STRIDE = BN + 8;  // 8 modulo 32: four rows of eight vectors are in different banks
constexpr int B_TILE = BK * B_STRIDE;
static_assert(BM % WM == 0 && BN % WN == 0 && WM % 32 == 0 && WN % 32 == 0 && BK % 8 == 0,
              "a tile is made of whole warps");

// How A lies in shared memory: row by row as ROWS (the reduction runs along a row), or as B does. As RUN it is no part of the
// tiles: its rows lie where a function says, and are rounded already (convolution_runs.cu).
enum Layout { ROWS, COLUMNS, RUN };
template <Layout A>
constexpr int A_STRIDE = A == ROWS ? BK + 4 : BM + 8;  // ROWS: 4 modulo 8, so that eight rows are in different banks
template <Layout A>
constexpr int A_TILE = A == RUN ? 0 : A == ROWS ? BM * A_STRIDE<A> : BK * A_STRIDE<A>;

typedef real Sums[WM / 16][WN / 8][4];

__device__ __forceinline__ int lane_group() { return threadIdx.x % 32 / 4; }
__device__ __forceinline__ int lane_of_four() { return threadIdx.x % 4; }
__device__ __forceinline__ int warp_row() { return threadIdx.x / 32 / WARP_COLUMNS * WM; }
__device__ __forceinline__ int warp_column() { return threadIdx.x / 32 % WARP_COLUMNS * WN; }

// Sum number i, j of this thread (i < WM / 8, j < WN / 4), and where in the tile it belongs.
__device__ __forceinline__ real& sum_at(Sums& sums, int i, int j) {
    return sums[i / 2][j / 8 * 4 + j % 4][i % 2 * 2 + j % 8 / 4];
}
template <Layout A>
__device__ __forceinline__ int row_of(int i) {
    return warp_row() + (A == ROWS ? 8 * i + lane_group() : i / 4 * 32 + 4 * lane_group() + i % 4);
}
__device__ __forceinline__ int column_of(int j) { return warp_column() + j / 8 * 32 + 8 * lane_of_four() + j % 8; }

__device__ __forceinline__ Wide load_wide(const real* from) { return *reinterpret_cast<const Wide*>(from); }

// Adds up the tile a · b. Of a RUN, row(m) is what this lane gives to `load_matrices` for rows 16 m to 16 m + 15.
#if FAST

template <Layout A, class Row>
__device__ __forceinline__ void multiply(const real* a, const real* b, Sums& sums, Row row) {
    const int lane = threadIdx.x % 32, group = lane_group(), t = lane_of_four();
    a += warp_row() * (A == ROWS ? A_STRIDE<A> : 1);
    b += warp_column();
#pragma unroll
    for (int k = 0; k < BK; k += 8) {
        unsigned left[WM / 16][4], right[WN / 8][2];
#pragma unroll
        for (int n = 0; n < WN / 32; n++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const Wide four = load_wide(b + (k + t + 4 * half) * B_STRIDE + 32 * n + 4 * group);
#pragma unroll
                for (int j = 0; j < 4; j++) right[4 * n + j][half] = to_tf32(four.of[j]);
            }
        if constexpr (A == RUN) {
#pragma unroll
            for (int m = 0; m < WM / 16; m++) load_matrices(left[m], row(m) + k);
        } else if constexpr (A == ROWS) {
#pragma unroll
            for (int m = 0; m < WM / 16; m++) {
                load_matrices(left[m], a + (16 * m + lane % 16) * A_STRIDE<A> + k + lane / 16 * 4);
#pragma unroll
                for (int i = 0; i < 4; i++) left[m][i] = to_tf32(__uint_as_float(left[m][i]));
            }
        } else {
#pragma unroll
            for (int m = 0; m < WM / 32; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const Wide four = load_wide(a + (k + t + 4 * half) * A_STRIDE<A> + 32 * m + 4 * group);
#pragma unroll
                    for (int i = 0; i < 4; i++) left[2 * m + i / 2][2 * half + i % 2] = to_tf32(four.of[i]);
                }
        }
#pragma unroll
        for (int m = 0; m < WM / 16; m++)
#pragma unroll
            for (int n = 0; n < WN / 8; n++) mma_tf32(sums[m][n], left[m], right[n]);
    }
}

#else

template <Layout A, class Row>
__device__ __forceinline__ void multiply(const real* a, const real* b, Sums& sums, Row) {
#pragma unroll 4
    for (int k = 0; k < BK; k++) {
        __align__(16) real left[WM / 8];
        __align__(16) real right[WN / 4];
        if (A == ROWS) {
#pragma unroll
            for (int i = 0; i < WM / 8; i++) left[i] = a[row_of<A>(i) * A_STRIDE<A> + k];
        } else {
#pragma unroll
            for (int i = 0; i < WM / 8; i += Wide::SIZE)
                *reinterpret_cast<Wide*>(left + i) = load_wide(a + k * A_STRIDE<A> + row_of<A>(i));
        }
#pragma unroll
        for (int j = 0; j < WN / 4; j += Wide::SIZE)
            *reinterpret_cast<Wide*>(right + j) = load_wide(b + k * B_STRIDE + column_of(j));
#pragma unroll
        for (int i = 0; i < WM / 8; i++)
#pragma unroll
            for (int j = 0; j < WN / 4; j++) sum_at(sums, i, j) += left[i] * right[j];
    }
}

#endif

// Begins to copy a tile of B: BK rows, from number k on, of a matrix (rows, columns), of which `first_column` is the first to
// be copied; zeros where there are none. REUSED: through the L1 cache.
template <bool REUSED = false>
__device__ __forceinline__ void copy_rows(real* tile, const real* matrix, int k, int rows, int first_column,
                                          int columns) {
    constexpr int CHUNKS = BN / VEC_B, AT_ONCE = THREADS / CHUNKS;  // this thread copies VEC_B numbers of each AT_ONCE-th row
    static_assert(THREADS % CHUNKS == 0, "the threads share the rows of B evenly");
    const int place = threadIdx.x % CHUNKS * VEC_B, column = first_column + place, first_row = threadIdx.x / CHUNKS;
    const real* from = matrix + static_cast<long long>(k + first_row) * columns + column;  // not read where it is outside
#pragma unroll
    for (int i = 0; i < BK; i += AT_ONCE, from += static_cast<long long>(AT_ONCE) * columns) {
        const int row = i + first_row;
        const bool inside = k + row < rows && column < columns;
        if (BK % AT_ONCE == 0 || row < BK)
            copy_async<VEC_B * sizeof(real), REUSED>(tile + row * B_STRIDE + place, from, inside);
    }
}

struct Nothing {
    __device__ void operator()() const {}
};

// Runs through the tiles `first` to `last` of the reduction: load(a, b) begins to copy the next to shared memory,
// arrived() is called when what this thread has copied of one is there, used(b) when all of it has been multiplied.
template <Layout A, class Load, class Used, class Arrived = Nothing, class Row = Nothing>
__device__ __forceinline__ void reduce(int first, int last, real* shared, Sums& sums, Load load, Used used,
                                       Arrived arrived = {}, Row row = {}) {
    constexpr int STAGE = A_TILE<A> + B_TILE;
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        real* stage = shared + s * STAGE;
        if (first + s < last) load(stage, stage + A_TILE<A>);
        copy_commit();
    }
    int now = 0, next = STAGES - 1;
    for (int tile = first; tile < last; tile++) {
        copy_wait<STAGES - 2>();
        arrived();
        __syncthreads();  // all copies of this tile have arrived, and the stage before it has been used
        real* stage = shared + next * STAGE;
        if (tile + STAGES - 1 < last) load(stage, stage + A_TILE<A>);
        copy_commit();
        stage = shared + now * STAGE;
        multiply<A>(stage, stage + A_TILE<A>, sums, row);
        used(stage + A_TILE<A>);
        now = now + 1 == STAGES ? 0 : now + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
    }
    copy_wait<0>();
}

// Numbers of a row that are stored together.
struct __align__(VEC_B * sizeof(real)) Chunk {
    real of[VEC_B];
};

// Writes this thread's sums to an array of `columns` columns: row `line_of(row)` becomes sum + bias, with relu 0 where that is
// negative, and 0 where `positive`, an array like it, is not positive. Either array may be null.
template <Layout A, class Line>
__device__ __forceinline__ void store(Sums& sums, real* out, const real* bias, const real* positive, bool relu,
                                      int first_row, int first_column, int rows, int columns, Line line_of) {
#pragma unroll
    for (int i = 0; i < WM / 8; i++) {
        const int row = first_row + row_of<A>(i);
        if (row >= rows) continue;
        const long long line = static_cast<long long>(line_of(row)) * columns;
#pragma unroll
        for (int j = 0; j < WN / 4; j += VEC_B) {
            const int column = first_column + column_of(j);
            if (column >= columns) continue;
            Chunk chunk;
#pragma unroll
            for (int l = 0; l < VEC_B; l++) {
                real value = sum_at(sums, i, j + l);
                if (bias) value += bias[column + l];
                chunk.of[l] = relu && value < 0 ? real(0) : value;
            }
            if (positive) {
                const Chunk sign = *reinterpret_cast<const Chunk*>(positive + line + column);
#pragma unroll
                for (int l = 0; l < VEC_B; l++)
                    if (!(sign.of[l] > 0)) chunk.of[l] = 0;
            }
            *reinterpret_cast<Chunk*>(out + line + column) = chunk;
        }
    }
}
