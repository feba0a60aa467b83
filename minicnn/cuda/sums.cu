// Sums whose parts were added up by blocks, always in the same order.
#include "rows.cuh"

// sums (K,) of parts (P, K).
KERNEL add_parts(IN parts, OUT sums, int P, int K) {
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    real sum = 0;
#pragma unroll 4
    for (int p = threadIdx.y; p < P && k < K; p += blockDim.y) sum += parts[p * K + k];
    sum = column_sum(sum);
    if (threadIdx.y == 0 && k < K) sums[k] = sum;
}
