// Softmax and cross-entropy: one warp per row of scores, whose lanes take every 32nd number of it.
#include "rows.cuh"

#define EACH_LANE(k, K) for (int k = threadIdx.x; k < (K); k += 32)

__device__ real largest_of_warp(real value) {
    for (int apart = 16; apart; apart /= 2) {
        const real other = __shfl_xor_sync(0xffffffffu, value, apart);
        value = other <= value ? value : other;  // so written, what is not a number stays
    }
    return value;
}

__device__ real largest_of_row(const real* row, int K) {
    real largest = row[0];
    EACH_LANE(k, K) largest = row[k] <= largest ? largest : row[k];
    return largest_of_warp(largest);
}

// y = eˣ / Σ eˣ, or its logarithm, of every row.
KERNEL softmax(IN x, OUT y, int rows, int K, int logarithm) {
    EACH_ROW(n, rows) {
        const real* in = x + (long long)n * K;
        real* out = y + (long long)n * K;
        const real largest = largest_of_row(in, K);
        real sum = 0;
        EACH_LANE(k, K) sum += exp(in[k] - largest);
        sum = warp_sum(sum);
        const real log_sum = log(sum);
        EACH_LANE(k, K) out[k] = logarithm ? in[k] - largest - log_sum : exp(in[k] - largest) / sum;
    }
}

// dx = y (dy - Σ dy · y), or dy - eʸ Σ dy for the logarithm.
KERNEL softmax_backward(IN dy, IN y, OUT dx, int rows, int K, int logarithm) {
    EACH_ROW(n, rows) {
        const long long row = (long long)n * K;
        real sum = 0;
        EACH_LANE(k, K) sum += logarithm ? dy[row + k] : dy[row + k] * y[row + k];
        sum = warp_sum(sum);
        EACH_LANE(k, K) dx[row + k] = logarithm ? dy[row + k] - exp(y[row + k]) * sum : y[row + k] * (dy[row + k] - sum);
    }
}

// losses[n] = -Σ_k t_k log softmax(scores[n])_k, and the probabilities.
KERNEL softmax_cross_entropy(IN scores, IN targets, OUT losses, OUT probabilities, int rows, int K) {
    EACH_ROW(n, rows) {
        const long long row = (long long)n * K;
        const real largest = largest_of_row(scores + row, K);
        real sum = 0, loss = 0;
        EACH_LANE(k, K) sum += exp(scores[row + k] - largest);
        sum = warp_sum(sum);
        const real log_sum = log(sum);
        EACH_LANE(k, K) {
            const real shifted = scores[row + k] - largest;
            loss += targets[row + k] * (log_sum - shifted);
            probabilities[row + k] = exp(shifted) / sum;
        }
        loss = warp_sum(loss);
        if (threadIdx.x == 0) losses[n] = loss;
    }
}

// The gradient of Σ_n w_n · losses[n]: w_n (p Σ_k t_k - t).
KERNEL softmax_cross_entropy_backward(IN weights, IN probabilities, IN targets, OUT gradient, int rows, int K) {
    EACH_ROW(n, rows) {
        const long long row = (long long)n * K;
        real certain = 0;
        EACH_LANE(k, K) certain += targets[row + k];
        certain = warp_sum(certain);
        EACH_LANE(k, K) gradient[row + k] = weights[n] * (probabilities[row + k] * certain - targets[row + k]);
    }
}

// Losses and gradient in one launch, from labels: the target is 1 - smoothing + smoothing / K for the true class and
// smoothing / K for all others. A sample, and its loss, has a weight. Row *step (modulo `steps`) of labels, weights, losses
// and kept is used; the scores go into kept.
KERNEL label_cross_entropy(IN scores, const int* __restrict__ labels, IN weights, OUT losses, OUT gradient, OUT kept,
                           const long long* step, int rows, int K, int steps, real smoothing) {
    const real others = smoothing / K, more = 1 - smoothing;
    const long long place = *step % steps * rows;
    labels += place, weights += place, losses += place, kept += place * K;
    EACH_ROW(n, rows) {
        const long long row = (long long)n * K;
        const real weight = weights[n], largest = largest_of_row(scores + row, K);
        real sum = 0, loss = 0;
        EACH_LANE(k, K) sum += exp(scores[row + k] - largest);
        sum = warp_sum(sum);
        const real log_sum = log(sum);
        EACH_LANE(k, K) {
            const real shifted = scores[row + k] - largest, target = others + (k == labels[n] ? more : 0);
            loss += target * (log_sum - shifted);
            gradient[row + k] = weight * (exp(shifted) / sum - target);
            kept[row + k] = scores[row + k];
        }
        loss = warp_sum(loss);
        if (threadIdx.x == 0) losses[n] = weight * loss;
    }
}
