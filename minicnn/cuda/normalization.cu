// Batch normalisation of rows (pixels) of channels, x (M, C): statistics over the rows, in two launches each way.
//
// First every block (channels, part) measures its part of the rows, and the last one of those channels to be ready puts the
// parts together; then y, or dx, is written. Which row is added where depends on M and C alone, so a run repeats to the bit.
#include "rows.cuh"

#define LOADS 8  // rows that a thread reads at once

struct Moments {
    real mean, square, rows;  // square: the sum of the squared deviations from the mean
};

// The moments of two sets of rows from those of each: Chan, Golub and LeVeque (1979).
__device__ Moments merge(Moments a, Moments b) {
    if (b.rows == 0) return a;
    const real rows = a.rows + b.rows, share = b.rows / rows, apart = b.mean - a.mean;
    return {a.mean + apart * share, a.square + b.square + apart * apart * share * a.rows, rows};
}

// The moments of all threads of one column of the block, at threadIdx.y == 0.
__device__ Moments merge_column(Moments found) {
    __shared__ Moments all[THREADS];
    for (int half = blockDim.y / 2; half; half /= 2) {
        all[threadIdx.y * blockDim.x + threadIdx.x] = found;
        __syncthreads();
        if (threadIdx.y < half) found = merge(found, all[(threadIdx.y + half) * blockDim.x + threadIdx.x]);
        __syncthreads();
    }
    return found;
}

// The statistics of all rows; inverse = 1 / √(variance + ε). Moving averages, unless they are null, follow them.
//
// parts (P, 2, C): mean and square of the rows that blocks (·, part) have read, less the first row, x[0]: so no digits are
// lost far from zero.
KERNEL moments(IN x, real* parts, unsigned* counters, OUT mean, OUT variance, OUT inverse, OUT moving_mean,
               OUT moving_variance, long long M, int C, real epsilon, double momentum) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const long long stride = (long long)gridDim.y * blockDim.y;
    const real first = c < C ? x[c] : 0;
    Moments found = {0, 0, 0};
    for (long long r = blockIdx.y * blockDim.y + threadIdx.y; r < M && c < C; r += LOADS * stride) {
        real value[LOADS], sum = 0, square = 0, rows = 0;
#pragma unroll
        for (int k = 0; k < LOADS; k++) value[k] = r + k * stride < M ? x[(r + k * stride) * C + c] - first : 0;
#pragma unroll
        for (int k = 0; k < LOADS; k++) sum += value[k], rows += r + k * stride < M;
        const real mean = sum / rows;
#pragma unroll
        for (int k = 0; k < LOADS; k++) square += r + k * stride < M ? (value[k] - mean) * (value[k] - mean) : 0;
        found = merge(found, {mean, square, rows});
    }
    found = merge_column(found);
    if (threadIdx.y == 0 && c < C) {
        real* part = parts + blockIdx.y * 2 * C + c;
        part[0] = found.mean, part[C] = found.square;
    }
    if (!last_of_blocks(counters)) return;

    const int rounds = M / stride, left = M % stride, high = blockDim.y;  // the last round is not full
    const real start = c < C ? parts[c] : 0;  // near the mean, as all parts are
    real sum = 0, square = 0;
    each_part<2>(parts, c, C, [&](int part, const real* numbers) {
        const real rows = (long long)rounds * high + max(0, min(left - part * high, high)), apart = numbers[0] - start;
        sum += rows * apart;
        square += numbers[1] + rows * apart * apart;
    });
    sum = column_sum(sum), square = column_sum(square);
    if (threadIdx.y || c >= C) return;
    mean[c] = first + (start + sum / M);
    variance[c] = (square - sum * (sum / M)) / M;
    inverse[c] = 1 / sqrt(variance[c] + epsilon);
    if (!moving_mean) return;
    moving_mean[c] += (real)(1 - momentum) * (mean[c] - moving_mean[c]);
    moving_variance[c] += (real)(1 - momentum) * (variance[c] - moving_variance[c]);
}

// y = γ (x - mean) · inverse + β
KERNEL scale_rows(IN x, IN mean, IN inverse, IN gamma, IN beta, OUT y, long long M, int C) {
    EACH_COLUMN(c, C) {
        const real middle = mean[c], factor = gamma[c] * inverse[c], shift = beta[c];
#pragma unroll 4
        EACH_ROW(r, M) y[r * C + c] = (x[r * C + c] - middle) * factor + shift;
    }
}

// sums (2, C): Σ dy · (x - mean) · inverse and Σ dy; parts (P, 2, C): over the rows that blocks (·, part) have read.
KERNEL gradient_sums(IN dy, IN x, IN mean, IN inverse, real* parts, real* sums, unsigned* counters, long long M, int C) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const long long stride = (long long)gridDim.y * blockDim.y;
    real one = 0, along = 0;
    if (c < C) {
        const real middle = mean[c], factor = inverse[c];
#pragma unroll 4
        for (long long r = blockIdx.y * blockDim.y + threadIdx.y; r < M; r += stride) {
            one += dy[r * C + c];
            along += dy[r * C + c] * ((x[r * C + c] - middle) * factor);
        }
    }
    one = column_sum(one), along = column_sum(along);
    if (threadIdx.y == 0 && c < C) {
        parts[(blockIdx.y * 2 + 0) * C + c] = along;
        parts[(blockIdx.y * 2 + 1) * C + c] = one;
    }
    add_up<2>(parts, sums, counters, C);
}

// dx = γ · inverse · (dy - dβ / M - z · dγ / M), z = (x - mean) · inverse; sums (2, C): dγ and dβ. With `positive`, 0 where
// x is not: the gradient of the ReLU that x came from.
KERNEL input_gradient(IN dy, IN x, IN mean, IN inverse, IN gamma, IN sums, OUT dx, long long M, int C, int positive) {
    EACH_COLUMN(c, C) {
        const real middle = mean[c], scale = gamma[c] * inverse[c];
        const real along = sums[c] / M * inverse[c], one = sums[C + c] / M;
#pragma unroll 4
        EACH_ROW(r, M) {
            const real value = x[r * C + c], slope = scale * (dy[r * C + c] - one - (value - middle) * along);
            dx[r * C + c] = positive && !(value > 0) ? real(0) : slope;
        }
    }
}
