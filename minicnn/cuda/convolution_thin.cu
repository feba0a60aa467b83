// The gradients of a convolution's kernel and bias where an output is a sum of few TERMS = KH·KW·C, as in a first layer on
// gray images: to bring a tensor core its factors would be more work than the multiplications. What they are, and the
// arguments, is in convolution_gradient.cu; the arithmetic is exact for both types.
//
// Block (filters, -, share) takes its share of the pixels, `depth` of them, 256 at a time. First every thread writes the
// terms of one pixel to shared memory; then WIDE threads have a filter each, in GROUPS which take every GROUPS-th pixel.
#include "common.cuh"

#ifndef TERMS
#define TERMS 9
#define WIDE 32  // a power of two
#endif

constexpr int THREADS = 256, GROUPS = THREADS / WIDE;
constexpr int VECTORS = (TERMS + Wide::SIZE - 1) / Wide::SIZE;
constexpr int ROW = VECTORS | 1;  // vectors from pixel to pixel, an odd number: eight neighbours lie in different banks

KERNEL __launch_bounds__(THREADS)
    conv2d_gradient_thin(const real* image, const real* dout, real* out, int pixels, int H, int W, int C, int OH, int OW,
                         int F, int KH, int KW, int up_y, int up_x, int step_y, int step_x, int offset_y, int offset_x,
                         int depth) {
    __shared__ Wide terms[THREADS * ROW];
    const int f = blockIdx.x * WIDE + threadIdx.x % WIDE, group = threadIdx.x / WIDE;
    const int first = blockIdx.z * depth, last = min(first + depth, pixels);
    Wide sums[VECTORS] = {};
    real bias = 0;
    for (int start = first; start < last; start += THREADS) {
        const int pixel = start + threadIdx.x, row = pixel / OW, n = row / OH;
        const int y = (row - n * OH) * up_y + offset_y, x = (pixel - row * OW) * up_x + offset_x;
        Wide own[VECTORS] = {};
        int a = 0, b = 0, c = 0;
#pragma unroll
        for (int k = 0; k < TERMS; k++) {
            const int iy = y + a * step_y, ix = x + b * step_x;
            if (pixel < last && within(iy, H) && within(ix, W))
                own[k / Wide::SIZE].of[k % Wide::SIZE] = image[static_cast<long long>((n * H + iy) * W + ix) * C + c];
            if (++c == C) c = 0, b++;
            if (b == KW) b = 0, a++;
        }
        __syncthreads();  // those before have been used
#pragma unroll
        for (int v = 0; v < VECTORS; v++) terms[threadIdx.x * ROW + v] = own[v];
        __syncthreads();
        const int count = min(THREADS, last - start);
        const real* gradients = dout + static_cast<long long>(start) * F + f;
#pragma unroll 4
        for (int p = group; p < count; p += GROUPS) {
            const real gradient = f < F ? gradients[static_cast<long long>(p) * F] : real(0);
            bias += gradient;
#pragma unroll
            for (int v = 0; v < VECTORS; v++) {
                const Wide factor = terms[p * ROW + v];
#pragma unroll
                for (int k = 0; k < Wide::SIZE; k++) sums[v].of[k] += factor.of[k] * gradient;
            }
        }
    }
    // The groups' sums, added in their order; after those of the terms comes the bias.
    out += blockIdx.z * (static_cast<long long>(TERMS) * F + F);
    real* const parts = terms->of;
#pragma unroll
    for (int k = 0; k <= TERMS; k++) {
        __syncthreads();
        const int term = k % TERMS;  // within the array, also for the bias
        parts[threadIdx.x] = k < TERMS ? sums[term / Wide::SIZE].of[term % Wide::SIZE] : bias;
        __syncthreads();
        if (group == 0 && f < F) {
            real sum = 0;
            for (int g = 0; g < GROUPS; g++) sum += parts[g * WIDE + threadIdx.x];
            out[k * F + f] = sum;
        }
    }
}
