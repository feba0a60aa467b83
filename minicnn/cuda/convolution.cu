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
#include "gemm.cuh"
#include "taps.cuh"

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
    const int K = taps_y.number * taps_x.number * C;
    const int first = blockIdx.z * depth, last = min(first + depth, (K + BK - 1) / BK);
    kernel += static_cast<long long>(taps_y.before * KW + taps_y.number * taps_x.before) * C * F;

    // What the first tap of position 0 sees, and how far the next tap is from there.
    const int corner_y = (phase_y + taps_y.first * step_y + offset_y) / down_y;
    const int corner_x = (phase_x + taps_x.first * step_x + offset_x) / down_x;
    const int move_y = taps_y.stride * step_y / down_y, move_x = taps_x.stride * step_x / down_x;

    // Of A this thread copies VEC_A channels of each of these pixels.
    constexpr int A_CHUNKS = BK / VEC_A, A_ROWS = THREADS / A_CHUNKS, A_COPIES = BM / A_ROWS;
    static_assert(THREADS % A_CHUNKS == 0 && BM % A_ROWS == 0, "the threads share the rows of A evenly");
    const int a_row = threadIdx.x / A_CHUNKS, a_k = threadIdx.x % A_CHUNKS * VEC_A;
    int at[A_COPIES], y[A_COPIES], x[A_COPIES];  // which pixel the first tap sees: its number, line and column
#pragma unroll
    for (int i = 0; i < A_COPIES; i++) {
        const int pixel = first_row + a_row + i * A_ROWS, row = pixel / columns, n = row / rows;
        const int line = (row - n * rows) * up_y + corner_y;
        x[i] = (pixel - row * columns) * up_x + corner_x;
        y[i] = pixel < pixels ? line : -(1 << 30);  // outside for every tap
        at[i] = (n * H + line) * W + x[i];
    }

    // The sum goes through all taps for a group of channels, then for the next: neighbouring taps see the same pixels, which
    // are still in the L1 cache if a tile is one group.
    const int group = C % BK == 0 ? BK : C;
    const int high = max(1, taps_y.number), wide = max(1, taps_x.number);
    const int k = first * BK + a_k;
    int c = k % group, b = k / group % wide, a = k / group / wide;  // channel and tap of the next to be copied
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
        copy_rows(b_tile, kernel, (a * wide + b) * C + c - a_k, K, first_column, F);
        a += further_a, b += further_b, c += further_c;
        if (c >= C) c -= C, b++;
        if (b >= wide) b -= wide, a++;
        if (a >= high && group < C) a = 0, c += group;
    };
    Sums sums = {};
    reduce<ROWS>(first, last, shared, sums, load, [](const real*) {});

    auto line_of = [&](int pixel) {
        if (down_y == 1 && down_x == 1) return pixel;
        const int row = pixel / columns, n = row / rows;
        return (n * OH + (row - n * rows) * down_y + phase_y) * OW + (pixel - row * columns) * down_x + phase_x;
    };
    out += static_cast<long long>(blockIdx.z) * N * OH * OW * F;
    store<ROWS>(sums, out, bias, positive, relu, first_row, first_column, pixels, F, line_of);
}
