// The gradients of a convolution's kernel and bias: A is im2col of the image, transposed, B the gradient of the output, and
// the reduction runs over the pixels.
//
//   dkernel[a, b, c, f] = Σ_nij image[n, i·up + a·step + offset, …, c] · dout[n, i, j, f]      dbias[f] = Σ_nij dout[n, i, j, f]
//
// image (N, H, W, C)   dout (N, OH, OW, F), N·OH·OW = pixels   out: dkernel (KH, KW, C, F), then dbias (F,)
//
// Block z of gridDim.z > 1 takes its share of the reduction, `depth` tiles, and writes its sums to out[z] for `sum_parts`.
#include "gemm.cuh"

KERNEL __launch_bounds__(THREADS, BLOCKS)
    conv2d_gradient(const real* image, const real* dout, real* out, int pixels, int H, int W, int C, int OH, int OW,
                    int F, int KH, int KW, int up_y, int up_x, int step_y, int step_x, int offset_y, int offset_x,
                    int depth) {
    DYNAMIC_SHARED(real, shared);
    const int K = KH * KW * C, tiles = (pixels + BK - 1) / BK, column_tiles = (F + BN - 1) / BN;
    const int first_row = blockIdx.x / column_tiles * BM, first_column = blockIdx.x % column_tiles * BN;
    const int first = blockIdx.z * depth, last = min(first + depth, tiles);

    // Of A this thread copies VEC_A channels of one tap, at these pixels.
    constexpr int A_CHUNKS = BM / VEC_A, A_ROWS = THREADS / A_CHUNKS, A_COPIES = BK / A_ROWS;
    static_assert(THREADS % A_CHUNKS == 0 && BK % A_ROWS == 0, "the threads share the rows of A evenly");
    const int a_row = threadIdx.x / A_CHUNKS, a_column = threadIdx.x % A_CHUNKS * VEC_A;
    const int k = first_row + a_column, c = k % C;
    const int tap_y = k / C / KW * step_y + offset_y, tap_x = k / C % KW * step_x + offset_x;
    int n[A_COPIES], i[A_COPIES], j[A_COPIES];  // the next to be copied
#pragma unroll
    for (int l = 0; l < A_COPIES; l++) {
        const int pixel = first * BK + a_row + l * A_ROWS, row = pixel / OW;
        n[l] = row / OH;
        i[l] = row - n[l] * OH;
        j[l] = pixel - row * OW;
    }
    const int further_n = BK / OW / OH, further_i = BK / OW % OH, further_j = BK % OW;  // from tile to tile
    int pixel = first * BK;  // where the next tile begins
    auto load = [&](real* a_tile, real* b_tile) {
#pragma unroll
        for (int l = 0; l < A_COPIES; l++) {
            const int y = i[l] * up_y + tap_y, x = j[l] * up_x + tap_x, row = a_row + l * A_ROWS;
            const bool inside = k < K && pixel + row < pixels && within(y, H) && within(x, W);
            const real* from = image + c + static_cast<long long>((n[l] * H + y) * W + x) * C;  // not read where it is outside
            copy_async<VEC_A * sizeof(real), true>(a_tile + row * A_STRIDE<COLUMNS> + a_column, from, inside);
            n[l] += further_n, i[l] += further_i, j[l] += further_j;
            if (j[l] >= OW) j[l] -= OW, i[l]++;
            if (i[l] >= OH) i[l] -= OH, n[l]++;
        }
        copy_rows(b_tile, dout, pixel, pixels, first_column, F);
        pixel += BK;
    };

    Sums sums = {};
    // The bias is added up by all threads alike, each of which takes every BIAS_ROWS-th row of one column.
    constexpr int BIAS_ROWS = THREADS / BN;
    static_assert(THREADS % BN == 0 && BK % (2 * BIAS_ROWS) == 0, "the threads share the rows of B evenly");
    const int bias_row = threadIdx.x / BN, bias_column = threadIdx.x % BN;
    const bool adds_bias = first_row == 0;
    real sum = 0;
    reduce<COLUMNS>(first, last, shared, sums, load, [&](const real* b_tile) {
        if (!adds_bias) return;
        b_tile += bias_row * B_STRIDE + bias_column;
        real even = 0, odd = 0;  // neither waits for the other
#pragma unroll
        for (int row = 0; row < BK; row += 2 * BIAS_ROWS)
            even += b_tile[row * B_STRIDE], odd += b_tile[(row + BIAS_ROWS) * B_STRIDE];
        sum += even + odd;
    });
    out += blockIdx.z * (static_cast<long long>(K) * F + F);
    store<COLUMNS>(sums, out, nullptr, nullptr, false, first_row, first_column, K, F, [](int row) { return row; });
    if (!adds_bias) return;
    __syncthreads();  // the tiles have been used
    shared[threadIdx.x] = sum;
    __syncthreads();
    const int column = first_column + threadIdx.x;
    if (threadIdx.x >= BN || column >= F) return;
    real bias = 0;
    for (int row = 0; row < BIAS_ROWS; row++) bias += shared[row * BN + threadIdx.x];
    out[static_cast<long long>(K) * F + column] = bias;
}
