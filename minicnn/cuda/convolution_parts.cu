// What surrounds the products of convolution.cu and convolution_gradient.cu.
#include "rows.cuh"
#include "taps.cuh"

// out[i] = Σ_z parts[z, i], and bias, `positive` and ReLU as in convolution.cu; 32 x 8 threads, or 32 x 32 for many parts, take
// 32 numbers, always in the same order.
KERNEL __launch_bounds__(1024) sum_parts(const real* parts, const real* bias, const real* positive, real* out, int relu,
                                        int number, int count, int F) {
    __shared__ real sums[32][33];
    const int i = blockIdx.x * 32 + threadIdx.x;
    real sum = 0;
    if (i < count)
        for (int z = threadIdx.y; z < number; z += blockDim.y) sum += parts[static_cast<long long>(z) * count + i];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && i < count) {
        for (int y = 1; y < blockDim.y; y++) sum += sums[y][threadIdx.x];
        if (bias) sum += bias[i % F];
        out[i] = relu && sum < 0 || positive && !(positive[i] > 0) ? real(0) : sum;
    }
}

// The kernel (KH, KW, C, F) for the gradient of the input, (KH·KW, F, C) and its taps sorted by phase: taps.cuh. Blocks of
// 32 x 8 threads move squares of 32 x 32, one tap for every blockIdx.y.
KERNEL __launch_bounds__(256) swap_channels(const real* kernel, real* out, int C, int F, int KH, int KW, int step_y,
                                            int step_x, int offset_y, int offset_x, int down_y, int down_x) {
    __shared__ real square[32][33];
    const int tap_y = blockIdx.y / KW, tap_x = blockIdx.y % KW, along = (F + 31) / 32;
    const int c = blockIdx.x / along * 32, f = blockIdx.x % along * 32;
    const Axis axis_y = {KH, step_y, offset_y, down_y}, axis_x = {KW, step_x, offset_x, down_x};
    const Taps taps_y = taps_of(axis_y, phase_of(axis_y, tap_y)), taps_x = taps_of(axis_x, phase_of(axis_x, tap_x));
    const int before = taps_y.before * KW + taps_y.number * taps_x.before;
    const int tap =
        before + (tap_y - taps_y.first) / taps_y.stride * taps_x.number + (tap_x - taps_x.first) / taps_x.stride;
    kernel += static_cast<long long>(blockIdx.y) * C * F;
    out += static_cast<long long>(tap) * C * F;
    for (int i = threadIdx.y; i < 32; i += 8)
        if (c + i < C && f + threadIdx.x < F)
            square[i][threadIdx.x] = kernel[static_cast<long long>(c + i) * F + f + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < 32; i += 8)
        if (f + i < F && c + threadIdx.x < C)
            out[static_cast<long long>(f + i) * C + c + threadIdx.x] = square[threadIdx.x][i];
}

// out[i] = dy[i] where y[i] > 0, else 0: the gradient of ReLU.
KERNEL where_positive(IN dy, IN y, OUT out, long long count) {
    EACH(i, count) out[i] = y[i] > 0 ? dy[i] : real(0);
}

// columns[n, i, j, a, b, c] = image[n, i·stride + a·dilation - pad, …, c], or 0 outside.
KERNEL im2col(IN image, OUT columns, long long count, int H, int W, int C, int OH, int OW, int KH, int KW, int stride_y,
              int stride_x, int dilation_y, int dilation_x, int top, int left) {
    EACH(index, count) {
        const int c = index % C, b = index / C % KW, a = index / C / KW % KH;
        const long long pixel = index / C / KW / KH, n = pixel / OW / OH;
        const int j = pixel % OW, i = pixel / OW % OH;
        const int y = i * stride_y + a * dilation_y - top, x = j * stride_x + b * dilation_x - left;
        columns[index] = within(y, H) && within(x, W) ? image[((n * H + y) * W + x) * C + c] : real(0);
    }
}

// image[n, y, x, c] = Σ of the columns it was copied to, in the order of the taps.
KERNEL col2im(IN columns, OUT image, long long count, int H, int W, int C, int OH, int OW, int KH, int KW, int stride_y,
              int stride_x, int dilation_y, int dilation_x, int top, int left) {
    EACH(index, count) {
        const int c = index % C, x = index / C % W, y = index / C / W % H;
        const long long n = index / C / W / H;
        real sum = 0;
        for (int a = 0; a < KH; a++)
            for (int b = 0; b < KW; b++) {
                const int below = y + top - a * dilation_y, right = x + left - b * dilation_x;
                const int i = below / stride_y, j = right / stride_x;
                const bool copied = below % stride_y == 0 && right % stride_x == 0 && within(i, OH) && within(j, OW);
                if (copied) sum += columns[((((n * OH + i) * OW + j) * KH + a) * KW + b) * C + c];
            }
        image[index] = sum;
    }
}
