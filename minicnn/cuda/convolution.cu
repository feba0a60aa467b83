// Convolution as one product that never writes its columns: A is im2col of the image, gathered pixel by pixel on its way to
// shared memory, B the kernel. The gradient of the input is the same sum with strides and taps turned round.
//
//   out[n, i, j, f] = Σ_abc image[n, (i·up + a·step + offset) / down, …, c] · kernel[a, b, c, f] + bias[f]
//
// over the taps where the division leaves nothing and the pixel is inside. Forward: up is the stride, step the dilation,
// down 1. Backward: up 1, step minus the dilation, down the stride, and the kernel is what `swap_channels` makes of it.
//
// image (N, H, W, C)   kernel (KH, KW, C, F)   bias (F,) or null   out (N, OH, OW, F)
//
// Backward, `positive` may be what a ReLU made, an array like out: where it is not positive, out becomes 0, the gradient of
// what went into the ReLU.
//
// Block (tile, phase, share) computes a tile of those outputs that have this phase (taps.cuh; without `down` there is but
// one). Where gridDim.z > 1 it takes its share of the reduction, `depth` tiles, and out[share] is for `sum_parts`.
//
// HALO: where `down` is 1 and C a multiple of BK, a block copies its pixels once for all taps, BK channels at a time: the run
// from the first to the last that it sees, in which every tap is equally far from the first tap for all rows. `depth` then
// counts groups of channels; there are at least STAGES + 1 taps, and KH and KW are at most 15.
#include "gemm.cuh"
#include "taps.cuh"

#ifndef HALO
#define HALO 0
#endif
static_assert(!HALO || FAST && VEC_A * sizeof(real) == 16, "a run is read by `load_matrices`");

struct Place {
    int n, y, x;  // image, line, column; the last two may be outside
};

// How many pixels of all images come before it.
__device__ __forceinline__ int before(const Place& place, int H, int W) {
    const int x = within(place.y, H) ? min(max(place.x, 0), W) : 0;
    return (place.n * H + min(max(place.y, 0), H)) * W + x;
}

KERNEL __launch_bounds__(THREADS, BLOCKS)
    conv2d(const real* image, const real* kernel, const real* bias, const real* positive, real* out, int relu, int N,
           int H, int W, int C, int OH, int OW, int F, int KH, int KW, int up_y, int up_x, int step_y, int step_x,
           int offset_y, int offset_x, int down_y, int down_x, int depth) {
    DYNAMIC_SHARED(real, shared);
    const int phase_y = blockIdx.y / down_x, phase_x = blockIdx.y % down_x;
    const int rows = (OH - phase_y + down_y - 1) / down_y;  // of this phase
    const int columns = (OW - phase_x + down_x - 1) / down_x;
    const int pixels = N * rows * columns, column_tiles = (F + BN - 1) / BN;
    const int first_row = blockIdx.x / column_tiles * BM, first_column = blockIdx.x % column_tiles * BN;
    if (first_row >= pixels) return;  // phases have different numbers of pixels

    const Taps taps_y = taps_of({KH, step_y, offset_y, down_y}, phase_y);
    const Taps taps_x = taps_of({KW, step_x, offset_x, down_x}, phase_x);
    const int K = taps_y.number * taps_x.number * C, tiles = (K + BK - 1) / BK;
    if (HALO) depth *= KH * KW;
    const int first = blockIdx.z * depth, last = min(first + depth, tiles);
    kernel += static_cast<long long>(taps_y.before * KW + taps_y.number * taps_x.before) * C * F;

    // What the first tap of position 0 sees, and how far the next tap is from there.
    const int corner_y = (phase_y + taps_y.first * step_y + offset_y) / down_y;
    const int corner_x = (phase_x + taps_x.first * step_x + offset_x) / down_x;
    const int move_y = taps_y.stride * step_y / down_y, move_x = taps_x.stride * step_x / down_x;
    auto seen_by = [&](int pixel) {
        const int row = pixel / columns, n = row / rows;
        return Place{n, (row - n * rows) * up_y + corner_y, (pixel - row * columns) * up_x + corner_x};
    };
    // Of A this thread copies VEC_A channels at a time: of one pixel, or with HALO of every A_ROWS-th of a run.
    constexpr int A_CHUNKS = BK / VEC_A, A_ROWS = THREADS / A_CHUNKS;
    static_assert(THREADS % A_CHUNKS == 0 && BM % A_ROWS == 0, "the threads share the rows of A evenly");
    const int a_row = threadIdx.x / A_CHUNKS, a_k = threadIdx.x % A_CHUNKS * VEC_A;

    // Of B, VEC_B filters for each of these rows, from row k of the kernel on. With HALO it goes through the L1 cache, which
    // the pixels do not need: the other blocks of a processor read the same.
    constexpr int B_CHUNKS = BN / VEC_B, B_ROWS = THREADS / B_CHUNKS, B_COPIES = (BK + B_ROWS - 1) / B_ROWS;
    static_assert(THREADS % B_CHUNKS == 0, "the threads share the rows of B evenly");
    const int b_row = threadIdx.x / B_CHUNKS, b_column = threadIdx.x % B_CHUNKS * VEC_B;
    auto copy_kernel = [&](real* tile, int k) {
#pragma unroll
        for (int i = 0; i < B_COPIES; i++) {
            const int row = b_row + i * B_ROWS, column = first_column + b_column;
            const bool above = HALO || k + row < K, inside = above && column < F;
            const real* from = kernel + static_cast<long long>(above ? k + row : 0) * F + (column < F ? column : 0);
            if (BK % B_ROWS == 0 || row < BK)
                copy_async<VEC_B * sizeof(real), HALO>(tile + row * B_STRIDE + b_column, from, inside);
        }
    };

    // The sum goes through all taps for a group of channels, then for the next: neighbouring taps see the same pixels, which
    // are still in the L1 cache if a tile is one group.
    Sums sums = {};
#if HALO
    constexpr int STRIDE = A_STRIDE<ROWS>, ZEROS = BK + 24;
    const int taps = KH * KW, far_y = move_y * (KH - 1), far_x = move_x * (KW - 1);  // from the first tap to the last
    Place begin = seen_by(first_row), end = seen_by(min(first_row + BM, pixels) - 1);
    begin.y += min(0, far_y), begin.x += min(0, far_x), end.y += max(0, far_y), end.x += max(0, far_x) + 1;
    const int start = before(begin, H, W), length = before(end, H, W) - start;
    // In shared memory: zeros, the runs of two groups of channels, one of which is read while the other arrives, tiles of B.
    auto run_of = [&](int channel) { return shared + ZEROS + (channel & BK ? length : 0) * STRIDE; };
    image += static_cast<long long>(start) * C + a_k;
    auto copy_run = [&](int channel, int row) {
        copy_async<16>(run_of(channel) + row * STRIDE + a_k, image + (row * C + channel), true);
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
        for (int b = 0; b < KW; b++) outside[m] |= !within(seen.x + b * move_x, W) << b;
        for (int a = 0; a < KH; a++) outside[m] |= !within(seen.y + a * move_y, H) << 16 << a;
    }

    // The next to be copied: this tap of the kernel for the group of this channel, and a row of the run of the group after it,
    // from the tap on at which all threads have left the run before.
    int tap = 0, channel = first / taps * BK, next = length;
    const int end_channel = last / taps * BK, shared_by = A_ROWS * (taps - STAGES + 1);
    const int rows_at_once = (length + shared_by - 1) / shared_by * A_ROWS;
    auto load = [&](real*, real* b_tile) {
        copy_kernel(b_tile, tap * C + channel);
        if (tap == STAGES - 1 && channel + BK < end_channel) next = a_row;
        const int stop = min(length, next + rows_at_once);
#pragma unroll 1
        for (; next < stop; next += A_ROWS) copy_run(channel + BK, next);
        if (++tap == taps) tap = 0, channel += BK;
    };
    // The tap in use: its bits in `outside`, and how far what it sees is from what the first tap does.
    unsigned column = 1, line = 1 << 16;
    int now = channel, shift = run_of(now) - run_of(0);
    auto arrived = [&] {
        if ((line | column) != (1 << 16 | 1)) return;
        for (int row = a_row; row < length; row += A_ROWS) {  // what this thread has copied is rounded for all taps
            Wide* const four = reinterpret_cast<Wide*>(run_of(now) + row * STRIDE + a_k);
            Wide rounded = *four;
#pragma unroll
            for (int i = 0; i < Wide::SIZE; i++) rounded.of[i] = __uint_as_float(to_tf32(rounded.of[i]));
            *four = rounded;
        }
    };
    auto row_of_tap = [&](int m) {  // outside, zeros in the same banks
        return shared + (place[m] + shift & (outside[m] & (line | column) ? 28 : ~0));
    };
    auto used = [&](const real*) {
        column <<= 1, shift += move_x * STRIDE;
        if (column >> KW == 0) return;
        column = 1, line <<= 1, shift += (move_y * W - move_x * KW) * STRIDE;
        if (line >> KH == 1 << 16) line = 1 << 16, now += BK, shift = run_of(now) - run_of(0);
    };

    if (threadIdx.x < ZEROS) shared[threadIdx.x] = 0;
    for (int row = a_row; row < length && first < last; row += A_ROWS) copy_run(channel, row);
    reduce<RUN>(first, last, run_of(0) + 2 * length * STRIDE, sums, load, used, arrived, row_of_tap);
#else
    constexpr int A_COPIES = BM / A_ROWS;
    int at[A_COPIES], y[A_COPIES], x[A_COPIES];  // which pixel the first tap sees: its number, line and column
#pragma unroll
    for (int i = 0; i < A_COPIES; i++) {
        const int pixel = first_row + a_row + i * A_ROWS;
        const Place seen = seen_by(pixel);
        y[i] = pixel < pixels ? seen.y : -(1 << 30);  // outside for every tap
        x[i] = seen.x;
        at[i] = (seen.n * H + seen.y) * W + seen.x;
    }
    const int group = C % BK == 0 ? BK : C;
    const int high = max(1, taps_y.number), wide = max(1, taps_x.number);
    const int k = first * BK + a_k;
    int c = k % group, b = k / group % wide, a = k / group / wide;  // the next to be copied
    if (group < C) c += a / high * group, a %= high;
    const int further_a = BK / group / wide, further_b = BK / group % wide, further_c = BK % group;  // from tile to tile
    auto load = [&](real* a_tile, real* b_tile) {
        const int tap_y = a * move_y, tap_x = b * move_x, tap = tap_y * W + tap_x;
#pragma unroll
        for (int i = 0; i < A_COPIES; i++) {
            const bool inside = a < high && within(y[i] + tap_y, H) && within(x[i] + tap_x, W);
            const real* from = image + c + static_cast<long long>(at[i] + tap) * C;  // not read where it is outside
            copy_async<VEC_A * sizeof(real), true>(a_tile + (a_row + i * A_ROWS) * A_STRIDE<ROWS> + a_k, from, inside);
        }
        copy_kernel(b_tile, (a * wide + b) * C + c - a_k);
        a += further_a, b += further_b, c += further_c;
        if (c >= C) c -= C, b++;
        if (b >= wide) b -= wide, a++;
        if (a >= high && group < C) a = 0, c += group;
    };
    reduce<ROWS>(first, last, shared, sums, load, [](const real*) {});
#endif

    auto line_of = [&](int pixel) {
        if (down_y == 1 && down_x == 1) return pixel;
        const int row = pixel / columns, n = row / rows;
        return (n * OH + (row - n * rows) * down_y + phase_y) * OW + (pixel - row * columns) * down_x + phase_x;
    };
    out += static_cast<long long>(blockIdx.z) * N * OH * OW * F;
    auto finish = [&](real value, int column) {
        if (bias) value += bias[column];
        return relu && value < 0 ? real(0) : value;
    };
    store<ROWS>(sums, out, positive, first_row, first_column, pixels, F, line_of, finish);
}
