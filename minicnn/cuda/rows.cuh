// Loops over numbers and over rows, for kernels whose arithmetic takes less time than its numbers take to come.
#pragma once
#include "common.cuh"

#define THREADS 256  // of a block

// Arrays that a kernel reads, and that it writes; no two are one.
#define IN const real* __restrict__
#define OUT real* __restrict__

// All of `count` things, in blocks (THREADS).
#define EACH(k, count)                                                                       \
    for (long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x; k < (count); \
         k += (long long)gridDim.x * blockDim.x)

// Numbers 4·block … 4·block + 3 of an array, in one access where all are there and aligned; beyond the end, zeros.
struct alignas(4 * sizeof(real)) Pack {
    real at[4];
};

__device__ inline bool whole(const real* x, long long block, long long count) {
    return 4 * block + 4 <= count && (unsigned long long)x % sizeof(Pack) == 0;
}

__device__ inline Pack load(const real* x, long long block, long long count) {
    Pack pack;
    if (whole(x, block, count)) return reinterpret_cast<const Pack*>(x)[block];
#pragma unroll
    for (int k = 0; k < 4; k++) pack.at[k] = 4 * block + k < count ? x[4 * block + k] : 0;
    return pack;
}

__device__ inline void store(Pack pack, real* y, long long block, long long count) {
    if (whole(y, block, count)) {
        reinterpret_cast<Pack*>(y)[block] = pack;
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        if (4 * block + k < count) y[4 * block + k] = pack.at[k];
}

#define EACH_PACK(block, count) EACH(block, ((count) + 3) / 4)
#define OF_PACK(k) _Pragma("unroll") for (int k = 0; k < 4; k++)

// All columns and rows, in blocks (columns, rows): neighbours in a warp are neighbours in memory. Blocks (columns, parts)
// cut the columns among them and deal out the rows in turn.
#define EACH_COLUMN(c, columns) \
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < (columns); c += gridDim.x * blockDim.x)
#define EACH_ROW(r, rows)                                                                   \
    for (long long r = blockIdx.y * (long long)blockDim.y + threadIdx.y; r < (rows); \
         r += (long long)gridDim.y * blockDim.y)

// The sum over the threads of a column of the block, in the same order every time; for those with threadIdx.y == 0.
__device__ real column_sum(real value) {
    __shared__ real all[THREADS];
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        all[place] = value;
        __syncthreads();
        if (threadIdx.y < half) value += all[place + half * blockDim.x];
    }
    return value;
}

// Whether this block is the last of the blocks (columns, ·) to come here; then it sees what the others wrote before.
// counters: one for each `columns`, 0 before the launch and after it.
__device__ bool last_of_blocks(unsigned* counters) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        __threadfence();  // orders all that the barriers order for this thread: what the block has written, and will read
        last = atomicInc(counters + blockIdx.x, gridDim.y - 1) == gridDim.y - 1;
        __threadfence();
    }
    __syncthreads();
    return last;
}

// For the last block: deals the parts (P, KINDS, columns) that the blocks (columns, part) have written out to the threads of
// column c, and calls add(part, numbers) for each. Many are read at once: a thread would else wait for one after the other.
template <int KINDS, class Add>
__device__ inline void each_part(const real* parts, int c, int columns, Add add) {
    constexpr int AT_ONCE = 8;
    const int P = gridDim.y, high = blockDim.y;
    for (int first = threadIdx.y; first < P && c < columns; first += AT_ONCE * high) {
        real numbers[AT_ONCE][KINDS];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
#pragma unroll
            for (int kind = 0; kind < KINDS; kind++) {
                const int p = first + k * high;
                numbers[k][kind] = p < P ? parts[(p * KINDS + kind) * columns + c] : 0;
            }
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            if (first + k * high < P) add(first + k * high, numbers[k]);
    }
}

// sums (KINDS, columns) of all parts: the last block adds them, always in the same order.
template <int KINDS>
__device__ inline void add_up(const real* parts, real* sums, unsigned* counters, int columns) {
    if (!last_of_blocks(counters)) return;
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    real sum[KINDS] = {};
    each_part<KINDS>(parts, c, columns, [&](int, const real* numbers) {
#pragma unroll
        for (int kind = 0; kind < KINDS; kind++) sum[kind] += numbers[kind];
    });
#pragma unroll
    for (int kind = 0; kind < KINDS; kind++) {
        sum[kind] = column_sum(sum[kind]);
        if (threadIdx.y == 0 && c < columns) sums[kind * columns + c] = sum[kind];
    }
}
