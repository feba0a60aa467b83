// Random changes of images before they are learned from: they are moved, bent, blurred and partly erased.
#include "philox.cuh"

// ---------------------------------------------------------------------- random maps

// matrices (N, 2, 3) of the map from y to x that turns, resizes and shears about the centre and moves (`RandomAffine`).
// table (7, 3), for turn, down, right, higher, wider, tilt and slant: which of the image's `drawn` random numbers it is,
// or less than 0 where it is 0, and the limits it lies between.
KERNEL random_maps(const double* __restrict__ table, double* __restrict__ matrices, int N, int drawn, int H, int W,
                   KEY) {
    EACH(n, N) {
        double of[7];
#pragma unroll
        for (int k = 0; k < 7; k++) {
            const double* setting = table + 3 * k;
            const long long index = n * drawn + (int)setting[0];
            of[k] = 0;
            if (setting[0] < 0) continue;
            const unsigned word = word_of(philox(index / 4, KEY_OF), index % 4);
            of[k] = setting[1] + (setting[2] - setting[1]) * (word / 4294967296.0);
        }
        const double cosine = cos(6.283185307179586 * of[0]), sine = sin(6.283185307179586 * of[0]);
        const double a = (1 + of[3]) * cosine, b = (1 + of[3]) * sine, d = -(1 + of[4]) * sine, e = (1 + of[4]) * cosine;
        const double i = (H - 1) / 2.0, j = (W - 1) / 2.0, down = i + of[1] * H, right = j + of[2] * W;
        double* m = matrices + 6 * n;
        m[0] = a + of[5] * d, m[1] = b + of[5] * e, m[2] = i - m[0] * down - m[1] * right;
        m[3] = of[6] * a + d, m[4] = of[6] * b + e, m[5] = j - m[3] * down - m[4] * right;
    }
}

// noise (N, 2, H, W) = strength[n] · u, u uniform in [-1, 1); `each` numbers per image, whose first has an index of 4 k.
KERNEL uniform_noise(IN strength, OUT noise, int N, int each, KEY) {
    const long long blocks = (each + 3) / 4;
    EACH(k, N * blocks) {
        const Four four = philox(k, KEY_OF);
        const int n = k / blocks, first = 4 * (k % blocks);
#pragma unroll
        for (int i = 0; i < 4 && first + i < each; i++)
            noise[(long long)n * each + first + i] = strength[n] * (four.word[i] / (real)2147483648 - 1);
    }
}

// y[o,i,q] = Σ_k weights[|i-k|] · x[o,k,q] for x (·, length, inner), where *chosen of the image is not 0; else y = x.
// Images are `each` numbers; without `chosen` all are smoothed.
KERNEL smooth(IN x, IN weights, IN before, const unsigned char* __restrict__ chosen, OUT y, long long count,
              int length, int inner, int each) {
    EACH(k, count) {
        if (chosen && !chosen[k / each]) {
            y[k] = before[k];
            continue;
        }
        const int i = k / inner % length;
        const real* line = x + k - (long long)i * inner;
        real sum = 0;
        for (int l = 0; l < length; l++) sum += weights[i < l ? l - i : i - l] * line[(long long)l * inner];
        y[k] = sum;
    }
}

// y = x, but in rows and columns [from, to) of boxes (N, 4) a number per channel from `fill`, or if that is null a normal
// number times `most`; both are kept within [least, most].
KERNEL erase(IN x, const long long* __restrict__ boxes, IN fill, OUT y, int pixels, int H, int W, int C, real least,
             real most, KEY) {
    EACH_ROW(p, pixels) {
        const int j = (int)p % W, i = (int)p / W % H;
        const long long* box = boxes + 4 * (p / W / H);
        const bool inside = box[0] <= i && i < box[1] && box[2] <= j && j < box[3];
        EACH_COLUMN(c, C) {
            const long long index = p * C + c;
            real value = x[index];
            if (inside && fill) {
                value = fill[c];
            } else if (inside) {
                const Four four = philox(index / 4, KEY_OF);
                const int pair = index % 4 / 2 * 2;
                const Two z = normal(word_of(four, pair), word_of(four, pair + 1));
                value = most * (index % 2 ? z.second : z.first);
            }
            y[index] = !inside ? value : value < least ? least : value > most ? most : value;
        }
    }
}

// ---------------------------------------------------------------------- affine maps

enum { CONSTANT, NEAREST, REFLECT, WRAP };  // in the order of `FILL_MODES` in ops/reference.py

// The pixel that stands for an index, or -1 where the fill value does.
__device__ inline int pixel(long long index, int length, int mode) {
    if (0 <= index && index < length) return (int)index;
    if (mode == NEAREST) return index < 0 ? 0 : length - 1;
    if (mode == CONSTANT) return -1;
    const int period = mode == REFLECT ? 2 * length : length;
    const int rest = (int)((index % period + period) % period);
    return rest < length ? rest : 2 * length - 1 - rest;
}

// The four pixels around the point that a pixel of y comes from, and the shares of the lower row and the right column.
struct Taps {
    int row[2], column[2];
    real below, right;
};

// Of pixel (i, j) of image n, by matrices (N, 2, 3) and, if it is not null, field (N, 2, H, W).
__device__ inline Taps taps_of(const double* matrices, const real* field, long long n, int i, int j, int H, int W,
                               int mode) {
    const double* m = matrices + 6 * n;
    double row = m[0] * i + m[1] * j + m[2], column = m[3] * i + m[4] * j + m[5];
    if (field) row += field[(2 * n * H + i) * W + j], column += field[((2 * n + 1) * H + i) * W + j];
    const double top = floor(row), left = floor(column);
    const long long p = (long long)top, q = (long long)left;
    return {{pixel(p, H, mode), pixel(p + 1, H, mode)},
            {pixel(q, W, mode), pixel(q + 1, W, mode)},
            (real)(row - top),
            (real)(column - left)};
}

// maps (N, 2, 3), which make images upright and `width` wide by a factor from `least` to `most`, see `Ops.moment_maps`;
// a warp for each image.
KERNEL moment_maps(IN x, double* __restrict__ maps, int N, int H, int W, int C, real width, real least, real most,
                   real tiny) {
    EACH(k, 32LL * N) {
        const long long n = k / 32;
        const double middle = (H - 1) / 2.0, centre = (W - 1) / 2.0;
        double mass = 0, down = 0, right = 0, rows = 0, both = 0, columns = 0;
        for (int p = (int)(k % 32); p < H * W; p += 32) {
            const double i = p / W - middle, j = p % W - centre;
            double of_pixel = 0;
            for (int c = 0; c < C; c++) of_pixel += x[(n * H * W + p) * C + c];
            mass += of_pixel, down += of_pixel * i, right += of_pixel * j;
            rows += of_pixel * i * i, both += of_pixel * i * j, columns += of_pixel * j * j;
        }
        mass = warp_sum(mass), down = warp_sum(down), right = warp_sum(right);
        rows = warp_sum(rows), both = warp_sum(both), columns = warp_sum(columns);
        if (k % 32) continue;
        double slant = 0, scale = 1;
        if (mass > 0) {
            down /= mass, right /= mass;
            rows = rows / mass - down * down, both = both / mass - down * right, columns = columns / mass - right * right;
            if (rows > tiny) slant = both / rows;
            scale = 1 / fmin(fmax(width / sqrt(fmax(columns - slant * both, (double)tiny)), (double)least), (double)most);
        }
        double* m = maps + 6 * n;
        m[0] = 1, m[1] = 0, m[2] = 0;
        m[3] = slant, m[4] = scale, m[5] = (1 - scale) * (right + centre) - slant * (down + middle);
    }
}

// y[n,i,j] = x[n] at matrices[n] · (i, j, 1) + field[n,:,i,j], bilinear.
KERNEL affine(IN x, const double* __restrict__ matrices, IN field, OUT y, int pixels, int H, int W, int C, int mode,
              real outside) {
    EACH_ROW(p, pixels) {
        const int j = (int)p % W, i = (int)p / W % H;
        const long long n = (int)p / W / H;
        const Taps taps = taps_of(matrices, field, n, i, j, H, W, mode);
        EACH_COLUMN(c, C) {
            real value[2][2];
#pragma unroll
            for (int a = 0; a < 2; a++)
#pragma unroll
                for (int b = 0; b < 2; b++) {
                    const bool inside = taps.row[a] >= 0 && taps.column[b] >= 0;
                    value[a][b] = inside ? x[((n * H + taps.row[a]) * W + taps.column[b]) * C + c] : outside;
                }
            const real upper = value[0][0] + taps.right * (value[0][1] - value[0][0]);
            const real lower = value[1][0] + taps.right * (value[1][1] - value[1][0]);
            y[p * C + c] = upper + taps.below * (lower - upper);
        }
    }
}

// dx, which begins as zeros: a thread has a channel of an image to itself and adds in the order of the pixels of dy, so a
// run repeats to the bit. It is rarely wanted: augmentation comes before all that is trained.
KERNEL affine_backward(IN dy, const double* __restrict__ matrices, IN field, real* dx, int N, int H, int W, int C,
                       int mode) {
    EACH(k, (long long)N * C) {
        const long long n = k / C, c = k % C;
        for (int i = 0; i < H; i++)
            for (int j = 0; j < W; j++) {
                const Taps taps = taps_of(matrices, field, n, i, j, H, W, mode);
                const real gradient = dy[((n * H + i) * W + j) * C + c];
                for (int a = 0; a < 2; a++)
                    for (int b = 0; b < 2; b++) {
                        if (taps.row[a] < 0 || taps.column[b] < 0) continue;
                        const real weight = (a ? taps.below : 1 - taps.below) * (b ? taps.right : 1 - taps.right);
                        dx[((n * H + taps.row[a]) * W + taps.column[b]) * C + c] += weight * gradient;
                    }
            }
    }
}
