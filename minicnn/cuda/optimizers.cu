// A step of an optimizer: one pass over all parameters, which lie in one array, their gradients and their moments.
//
// What a step does is a program, a list of operations of `ops/reference.py` by their codes: for each number in turn they
// are done in this order, on what is then in registers. Every operation takes its settings, float64, from one list.
#include "rows.cuh"

#ifndef UNIT
#define UNIT 16  // every parameter begins at a multiple of so many numbers
#endif

#define MOST_SETTINGS 12  // of a program

enum {
    CLIP_VALUE = 1,
    CLIP_NORM,
    CLIP_NORMS,
    DECAY,
    SGD,
    RMSPROP,
    ADAGRAD,
    ADADELTA,
    ADAM,
    NADAM,
    ADAMAX,
    LION,
    FTRL,
    MOVING_AVERAGE
};

// A weight, its gradient, its moments, and its average: all are read before anything is computed, and what is not kept is 0.
struct Number {
    real w, g, a, b, c, average;
};

__device__ inline real follow(real& mean, real value, double momentum) {
    return mean += (real)(1 - momentum) * (value - mean);
}

__device__ inline void sgd(Number& n, const double* s, bool has_speed) {  // rate, momentum, Nesterov's look-ahead
    const real step = (real)s[0] * n.g, momentum = s[1];
    if (!has_speed) {
        n.w -= step;
        return;
    }
    n.a = momentum * n.a - step;
    n.w += s[2] ? momentum * n.a - step : n.a;
}

__device__ inline void rmsprop(Number& n, const double* s, bool centered, bool has_speed) {  // rate, ρ, momentum, ε
    real variance = follow(n.a, n.g * n.g, s[1]);
    if (centered) {
        const real mean = follow(n.b, n.g, s[1]);
        variance -= mean * mean;
    }
    real step = (real)s[0] * n.g / sqrt(variance + (real)s[3]);
    if (has_speed) step = n.c = (real)s[2] * n.c + step;
    n.w -= step;
}

__device__ inline void adagrad(Number& n, const double* s) {  // rate, ε
    n.a += n.g * n.g;
    n.w -= (real)s[0] * n.g / sqrt(n.a + (real)s[1]);
}

__device__ inline void adadelta(Number& n, const double* s) {  // rate, ρ, ε
    const real square = follow(n.a, n.g * n.g, s[1]);
    const real step = n.g * sqrt((n.b + (real)s[2]) / (square + (real)s[2]));
    follow(n.b, step * step, s[1]);
    n.w -= (real)s[0] * step;
}

__device__ inline void adam(Number& n, const double* s, bool amsgrad) {  // rate with the correction of the bias, β₁, β₂, ε
    const real mean = follow(n.a, n.g, s[1]);
    real square = follow(n.b, n.g * n.g, s[2]);
    if (amsgrad) square = n.c = n.c > square ? n.c : square;
    n.w -= (real)s[0] * mean / (sqrt(square) + (real)s[3]);
}

__device__ inline void nadam(Number& n, const double* s) {  // rates along m and g, growth of v, β₁, β₂, ε
    const real mean = follow(n.a, n.g, s[3]), square = follow(n.b, n.g * n.g, s[4]);
    n.w -= ((real)s[0] * mean + (real)s[1] * n.g) / (sqrt((real)s[2] * square) + (real)s[5]);
}

__device__ inline void adamax(Number& n, const double* s) {  // rate with the correction, β₁, β₂, ε
    const real mean = follow(n.a, n.g, s[1]), before = (real)s[2] * n.b, size = fabs(n.g);
    n.b = before > size ? before : size;
    n.w -= (real)s[0] * mean / (n.b + (real)s[3]);
}

__device__ inline void lion(Number& n, const double* s) {  // rate, β₁, β₂
    const real ahead = n.a + (real)(1 - s[1]) * (n.g - n.a), rate = s[0];
    n.w -= ahead > 0 ? rate : ahead < 0 ? -rate : ahead;
    follow(n.a, n.g, s[2]);
}

__device__ inline void ftrl(Number& n, const double* s) {  // rate, power, λ₁, λ₂, λₛ, β
    const real rate = s[0], power = s[1], l1 = s[2], before = s[1] == 0.5 ? sqrt(n.a) : pow(n.a, power);
    n.a += n.g * n.g;
    const real after = s[1] == 0.5 ? sqrt(n.a) : pow(n.a, power);
    n.b += n.g + (2 * (real)s[4] - (after - before) / rate) * n.w;
    const real curvature = ((real)s[5] + after) / rate + 2 * (real)s[3];
    const real kept = n.b > l1 ? l1 : n.b < -l1 ? -l1 : n.b;
    n.w = kept == n.b ? 0 : (kept - n.b) / curvature;
}

// The digits of `program`, base 16, are codes of operations, the first one the lowest. The settings are s0, s1, …, or, if
// there is a table of MOST_SETTINGS per step, the row *step of it. Where operations treat parameters unlike, owner[k / UNIT] is
// the parameter of number k: squares its sum of squared gradients (CLIP_NORM takes that of all), decayed whether it decays.
KERNEL __launch_bounds__(THREADS) optimize(long long count, unsigned long long program, real* w, real* g, real* a,
                                           real* b, real* c, real* average, const int* owner,
                                           const unsigned char* decayed, const real* squares, const double* table,
                                           const long long* step, double s0, double s1, double s2, double s3,
                                           double s4, double s5, double s6, double s7, double s8, double s9,
                                           double s10, double s11) {
    __shared__ double settings[MOST_SETTINGS];
    if (threadIdx.x == 0 && table) {
        for (int i = 0; i < MOST_SETTINGS; i++) settings[i] = table[*step * MOST_SETTINGS + i];
    } else if (threadIdx.x == 0) {
        settings[0] = s0, settings[1] = s1, settings[2] = s2, settings[3] = s3, settings[4] = s4, settings[5] = s5;
        settings[6] = s6, settings[7] = s7, settings[8] = s8, settings[9] = s9, settings[10] = s10, settings[11] = s11;
    }
    __syncthreads();
    EACH(k, count) {
        Number n = {w ? w[k] : 0, g ? g[k] : 0, a ? a[k] : 0, b ? b[k] : 0, c ? c[k] : 0, average ? average[k] : 0};
        const int parameter = owner ? owner[k / UNIT] : 0;
        const double* s = settings;
        for (unsigned long long left = program; left; left /= 16) switch (left % 16) {
                case CLIP_VALUE: {
                    const real most = s[0];
                    g[k] = n.g = n.g > most ? most : n.g < -most ? -most : n.g;
                    s += 1;
                    break;
                }
                case CLIP_NORM:
                case CLIP_NORMS: {
                    const real most = s[0], norm = sqrt(squares[left % 16 == CLIP_NORMS ? parameter : 0]);
                    if (!(norm <= most)) g[k] = n.g *= most / norm;
                    s += 1;
                    break;
                }
                case DECAY:
                    if (!decayed || decayed[parameter]) n.w *= (real)(1 - s[0]);
                    s += 1;
                    break;
                case SGD: sgd(n, s, a), s += 3; break;
                case RMSPROP: rmsprop(n, s, b, c), s += 4; break;
                case ADAGRAD: adagrad(n, s), s += 2; break;
                case ADADELTA: adadelta(n, s), s += 3; break;
                case ADAM: adam(n, s, c), s += 4; break;
                case NADAM: nadam(n, s), s += 6; break;
                case ADAMAX: adamax(n, s), s += 4; break;
                case LION: lion(n, s), s += 3; break;
                case FTRL: ftrl(n, s), s += 6; break;
                case MOVING_AVERAGE: {
                    const real mean = follow(n.average, n.w, s[0]);
                    if (s[1]) n.w = mean;
                    s += 2;
                    break;
                }
            }
        if (w) w[k] = n.w;
        if (a) a[k] = n.a;
        if (b) b[k] = n.b;
        if (c) c[k] = n.c;
        if (average) average[k] = n.average;
    }
}

// parts (P, S): what blocks (parameter, part) find of the sums of the squared gradients of S parameters, number s of which
// is starts[s] … starts[s+1] - 1, or of all if starts is null.
KERNEL square_sums(IN g, const long long* __restrict__ starts, OUT parts, long long count) {
    const long long first = starts ? starts[blockIdx.x] : 0, last = starts ? starts[blockIdx.x + 1] : count;
    real sum = 0;
#pragma unroll 4
    EACH_ROW(k, last - first) sum += g[first + k] * g[first + k];
    sum = column_sum(sum);
    if (threadIdx.y == 0) parts[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// g += l1 sign(w) + 2 l2 w, unless g is null; parts (P,): l1 Σ|w| + l2 Σw² of what blocks (1, part) have read.
KERNEL penalize(IN w, OUT g, OUT parts, long long count, real l1, real l2) {
    real sum = 0;
#pragma unroll 4
    EACH_ROW(k, count) {
        const real weight = w[k], sign = weight > 0 ? 1 : weight < 0 ? -1 : 0;
        sum += l1 * fabs(weight) + l2 * weight * weight;
        if (g) g[k] += l1 * sign + 2 * l2 * weight;
    }
    sum = column_sum(sum);
    if (threadIdx.y == 0) parts[blockIdx.y] = sum;
}
