// The convolution of convolution.cu on tensor cores, where a block copies its pixels once for all taps instead of once for
// each: for C a multiple of BK, `down` 1, at least STAGES + 1 taps, and KH and KW up to 15.
//
// A run is the pixels from the first to the last that a block sees, as they follow each other in memory. For all its outputs,
// a tap is equally far from the first tap: (a·step_y)·W + b·step_x pixels. So a warp reads the run where each row of A
// begins, moved by that; where a tap is outside of the image, it reads zeros instead.
//
// The sum goes through all taps for a group of BK channels, then for the next, as in convolution.cu; `depth` counts groups.
// Shared memory has zeros, the runs of two groups, one of which is read while the other arrives, and the tiles of B.
#ifndef FAST
#define FAST 1
#define VEC_A 4
#define VEC_B 4
#endif
#include "gemm.cuh"
static_assert(FAST && VEC_A * sizeof(real) == 16, "a run is read by `load_matrices`");
static_assert((BK & (BK - 1)) == 0, "one bit of a channel's number says which of the two runs has it");

struct Place {
    int n, y, x;  // image, line, column; the last two may be outside
};

// How many pixels of all images come before it.
__device__ __forceinline__ int before(const Place& place, int H, int W) {
    const int x = within(place.y, H) ? min(max(place.x, 0), W) : 0;
    return (place.n * H + min(max(place.y, 0), H)) * W + x;
}

KERNEL __launch_bounds__(THREADS, BLOCKS)
    conv2d_runs(const real* image, const real* kernel, const real* bias, const real* positive, real* out, int relu, int N,
                int H, int W, int C, int OH, int OW, int F, int KH, int KW, int up_y, int up_x, int step_y, int step_x,
                int offset_y, int offset_x, int depth) {
    DYNAMIC_SHARED(real, shared);
    const int pixels = N * OH * OW, column_tiles = (F + BN - 1) / BN;
    const int first_row = blockIdx.x / column_tiles * BM, first_column = blockIdx.x % column_tiles * BN;
    const int first_channel = blockIdx.z * depth * BK, end_channel = min(first_channel + depth * BK, C);
    const int taps = KH * KW, tiles = taps * (end_channel - first_channel) / BK;

    auto seen_by = [&](int pixel) {  // what the first tap of this output sees
        const int row = pixel / OW, n = row / OH;
        return Place{n, (row - n * OH) * up_y + offset_y, (pixel - row * OW) * up_x + offset_x};
    };
    Place begin = seen_by(first_row), end = seen_by(min(first_row + BM, pixels) - 1);
    const int far_y = step_y * (KH - 1), far_x = step_x * (KW - 1);  // from the first tap to the last
    begin.y += min(0, far_y), begin.x += min(0, far_x), end.y += max(0, far_y), end.x += max(0, far_x) + 1;
    const int start = before(begin, H, W), length = before(end, H, W) - start;

    // A run in shared memory; this thread copies VEC_A channels of every A_ROWS-th of its pixels.
    constexpr int STRIDE = A_STRIDE<ROWS>, ZEROS = 28 + BK - 4;  // as far as a row reads that begins at number 28
    constexpr int A_CHUNKS = BK / VEC_A, A_ROWS = THREADS / A_CHUNKS;
    static_assert(THREADS % A_CHUNKS == 0, "the threads share a run evenly");
    const int a_row = threadIdx.x / A_CHUNKS, a_k = threadIdx.x % A_CHUNKS * VEC_A;
    auto run_of = [&](int channel) { return shared + ZEROS + (channel & BK ? length : 0) * STRIDE; };
    image += static_cast<long long>(start) * C + a_k;
    auto copy_run = [&](int channel, int row) {
        copy_async<16>(run_of(channel) + row * STRIDE + a_k, image + static_cast<long long>(row) * C + channel, true);
    };

    // What this lane gives to `load_matrices` for the first tap, and for which columns (the first 16 bits) and lines of taps
    // that is outside.
    int place[WM / 16];
    unsigned outside[WM / 16];
#pragma unroll
    for (int m = 0; m < WM / 16; m++) {
        const int pixel = first_row + warp_row() + 16 * m + threadIdx.x % 16;
        const Place seen = seen_by(pixel);
        place[m] = ZEROS + ((seen.n * H + seen.y) * W + seen.x - start) * STRIDE + threadIdx.x % 32 / 16 * 4;
        outside[m] = pixel < pixels ? 0 : ~0u;
        for (int b = 0; b < KW; b++) outside[m] |= !within(seen.x + b * step_x, W) << b;
        for (int a = 0; a < KH; a++) outside[m] |= !within(seen.y + a * step_y, H) << 16 << a;
    }

    // The next to be copied: this tap of the kernel for the group of this channel, and a row of the run of the group after it,
    // from the tap on at which all threads have left the run before.
    int tap = 0, channel = first_channel, next = length;
    const int shared_by = A_ROWS * (taps - STAGES + 1);
    const int rows_at_once = (length + shared_by - 1) / shared_by * A_ROWS;
    auto load = [&](real*, real* b_tile) {
        copy_rows<true>(b_tile, kernel, tap * C + channel, taps * C, first_column, F);  // other blocks nearby read the same
        if (tap == STAGES - 1 && channel + BK < end_channel) next = a_row;
        const int stop = min(length, next + rows_at_once);
#pragma unroll 1
        for (; next < stop; next += A_ROWS) copy_run(channel + BK, next);
        if (++tap == taps) tap = 0, channel += BK;
    };
    // The tap in use: its two bits in `outside`, and how far what it sees is from what the first tap does.
    constexpr unsigned FIRST = 1 << 16 | 1;
    unsigned bits = FIRST;
    int now = channel, shift = run_of(now) - run_of(0);
    auto arrived = [&] {
        if (bits != FIRST) return;
        for (int row = a_row; row < length; row += A_ROWS) {  // what this thread has copied is rounded for all taps
            Wide* const four = reinterpret_cast<Wide*>(run_of(now) + row * STRIDE + a_k);
            Wide rounded = *four;
#pragma unroll
            for (int i = 0; i < Wide::SIZE; i++) rounded.of[i] = __uint_as_float(to_tf32(rounded.of[i]));
            *four = rounded;
        }
    };
    auto row_of_tap = [&](int m) {  // outside, zeros in the same banks
        return shared + (place[m] + shift & (outside[m] & bits ? 28 : ~0));
    };
    auto used = [&](const real*) {
        bits += bits & 0xffff, shift += step_x * STRIDE;  // on to the next column
        if (!(bits >> KW & 1)) return;
        bits = bits >> 16 << 17 | 1, shift += (step_y * W - step_x * KW) * STRIDE;  // to the next line
        if (bits >> 16 >> KH) bits = FIRST, now += BK, shift = run_of(now) - run_of(0);  // to the next group
    };

    if (threadIdx.x < ZEROS) shared[threadIdx.x] = 0;
    for (int row = a_row; row < length && tiles > 0; row += A_ROWS) copy_run(channel, row);
    Sums sums = {};
    reduce<RUN>(0, tiles, run_of(0) + 2 * length * STRIDE, sums, load, used, arrived, row_of_tap);
    out += static_cast<long long>(blockIdx.z) * pixels * F;
    store<ROWS>(sums, out, bias, positive, relu, first_row, first_column, pixels, F, [](int pixel) { return pixel; });
}
