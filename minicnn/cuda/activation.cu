// Activations, four numbers to a thread. What they are is written in ops/reference.py; here each is a line of arithmetic.
#include "rows.cuh"

// y = x · scale + offset
KERNEL rescale(IN x, OUT y, long long count, real scale, real offset) {
    EACH_PACK(block, count) {
        Pack pack = load(x, block, count);
        OF_PACK(k) pack.at[k] = pack.at[k] * scale + offset;
        store(pack, y, block, count);
    }
}

// y = min(x, most) above the threshold, slope · (x - threshold) below it; what is not a number stays so.
__device__ inline real uncut(real x, real slope, real threshold) {
    return x <= threshold ? (slope == 0 ? 0 : slope * (x - threshold)) : x;
}

KERNEL relu(IN x, OUT y, long long count, real slope, real most, real threshold) {
    EACH_PACK(block, count) {
        Pack pack = load(x, block, count);
        OF_PACK(k) {
            const real value = uncut(pack.at[k], slope, threshold);
            pack.at[k] = value > most ? most : value;
        }
        store(pack, y, block, count);
    }
}

// dx = dy · slope of relu at x. Of a plain relu, y serves as x.
KERNEL relu_backward(IN dy, IN x, OUT dx, long long count, real slope, real most, real threshold) {
    EACH_PACK(block, count) {
        const Pack value = load(x, block, count);
        Pack pack = load(dy, block, count);
        OF_PACK(k) {
            const bool cut = uncut(value.at[k], slope, threshold) >= most;
            pack.at[k] *= cut ? 0 : value.at[k] <= threshold ? slope : 1;
        }
        store(pack, dx, block, count);
    }
}

// y = x where positive, α x elsewhere; rows (M, C) with one α per column.
KERNEL prelu(IN x, IN alpha, OUT y, long long M, int C) {
    EACH_COLUMN(c, C) {
        const real slope = alpha[c];
#pragma unroll 4
        EACH_ROW(r, M) {
            const real value = x[r * C + c];
            y[r * C + c] = value > 0 ? value : slope * value;
        }
    }
}

// dx, and sums (C,): Σ dy · x where x is not positive; parts (P, C): over the rows that blocks (·, part) have read.
KERNEL prelu_backward(IN dy, IN x, IN alpha, OUT dx, real* parts, real* sums, unsigned* counters, long long M, int C) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    real sum = 0;
    if (c < C) {
        const real slope = alpha[c];
#pragma unroll 4
        for (long long r = blockIdx.y * blockDim.y + threadIdx.y; r < M; r += (long long)gridDim.y * blockDim.y) {
            const real value = x[r * C + c], gradient = dy[r * C + c];
            sum += value > 0 ? 0 : gradient * value;
            dx[r * C + c] = value > 0 ? gradient : slope * gradient;
        }
    }
    sum = column_sum(sum);
    if (threadIdx.y == 0 && c < C) parts[blockIdx.y * C + c] = sum;
    add_up<1>(parts, sums, counters, C);
}

// ---------------------------------------------------------------------- functions without settings, by their number

enum { ELU, SIGMOID, TANH, SELU, GELU, SILU, SOFTPLUS, SOFTSIGN, HARD_SIGMOID, HARD_SILU, MISH, EXPONENTIAL };

#define SELU_SCALE (real)1.0507009873554805
#define SELU_ALPHA (real)1.6732632423543772

__device__ real sigmoid(real x) {
    const real e = exp(-fabs(x));  // 1 / (1 + e⁻ˣ), without overflow
    return (x > 0 ? 1 : e) / (1 + e);
}

__device__ real sigmoid_slope(real x) {
    const real e = exp(-fabs(x));
    return e / ((1 + e) * (1 + e));
}

__device__ real softplus(real x) { return fmax(x, (real)0) + log1p(exp(-fabs(x))); }
__device__ real elu(real x, real alpha) { return x > 0 ? x : alpha * expm1(x); }
__device__ real elu_slope(real x, real alpha) { return x > 0 ? 1 : alpha * exp(x); }
__device__ real normal_below(real x) { return erfc(-x * (real)0.7071067811865476) / 2; }
__device__ real clip(real x, real low, real high) { return x < low ? low : x > high ? high : x; }

__device__ real value_of(int function, real x, real alpha) {
    switch (function) {
    case ELU: return elu(x, alpha);
    case SIGMOID: return sigmoid(x);
    case TANH: return tanh(x);
    case SELU: return SELU_SCALE * elu(x, SELU_ALPHA);
    case GELU: return x * normal_below(x);
    case SILU: return x * sigmoid(x);
    case SOFTPLUS: return softplus(x);
    case SOFTSIGN: return x / (1 + fabs(x));
    case HARD_SIGMOID: return clip(x + 3, 0, 6) / 6;
    case HARD_SILU: return x * (clip(x + 3, 0, 6) / 6);
    case MISH: return x * tanh(softplus(x));
    default: return exp(x);
    }
}

__device__ real slope_of(int function, real x, real alpha) {
    switch (function) {
    case ELU: return elu_slope(x, alpha);
    case SIGMOID: return sigmoid_slope(x);
    case TANH: return 4 * sigmoid_slope(2 * x);
    case SELU: return SELU_SCALE * elu_slope(x, SELU_ALPHA);
    case GELU: return normal_below(x) + x * exp(x * x / -2) * (real)0.3989422804014327;  // 1 / √2π
    case SILU: return sigmoid(x) + x * sigmoid_slope(x);
    case SOFTPLUS: return sigmoid(x);
    case SOFTSIGN: return 1 / ((1 + fabs(x)) * (1 + fabs(x)));
    case HARD_SIGMOID: return fabs(x) < 3 ? (real)1 / 6 : 0;
    case HARD_SILU: return fabs(x) < 3 ? (2 * x + 3) / 6 : x > 0;
    case MISH: return tanh(softplus(x)) + 4 * x * sigmoid_slope(2 * softplus(x)) * sigmoid(x);
    default: return exp(x);
    }
}

KERNEL activate(IN x, OUT y, long long count, int function, real alpha) {
    EACH_PACK(block, count) {
        Pack pack = load(x, block, count);
        OF_PACK(k) pack.at[k] = value_of(function, pack.at[k], alpha);
        store(pack, y, block, count);
    }
}

KERNEL activate_backward(IN dy, IN x, OUT dx, long long count, int function, real alpha) {
    EACH_PACK(block, count) {
        const Pack value = load(x, block, count);
        Pack pack = load(dy, block, count);
        OF_PACK(k) pack.at[k] *= slope_of(function, value.at[k], alpha);
        store(pack, dx, block, count);
    }
}

KERNEL error_function(IN x, OUT y, long long count) {
    EACH(k, count) y[k] = erf(x[k]);
}
