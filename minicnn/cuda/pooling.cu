// Pooling: a row of threads makes the channels of one pixel, so neighbours in a warp read and write neighbouring numbers.
// A thread makes TOGETHER neighbouring channels: finding the windows is more work than what is done in them. C and all places
// are counted in so many.
//
// The window of pixel (i, j) of y begins at pixel (i·SH - top, j·SW - left) of x. The gradient is gathered: every pixel of
// x adds up what it gets from the windows that it lies in, in a fixed order, and no two threads write to one place.
#include "rows.cuh"

#ifndef TOGETHER
#define TOGETHER 1
#endif

template <class T>
struct alignas(TOGETHER * sizeof(T)) Channels {
    T at[TOGETHER];
};
typedef Channels<real> Reals;
typedef Channels<unsigned short> Numbers;
#define OF_CHANNELS(k) _Pragma("unroll") for (int k = 0; k < TOGETHER; k++)

__device__ inline const Reals* together(const real* x) { return reinterpret_cast<const Reals*>(x); }
__device__ inline Reals* together(real* x) { return reinterpret_cast<Reals*>(x); }

#define WINDOW int H, int W, int C, int KH, int KW, int SH, int SW, int top, int left, int OH, int OW

// The first window along one axis that pixel `at` lies in, and one past the last; in window w it is tap at - w·stride.
__device__ int first_window(int at, int size, int stride) { return at < size ? 0 : (at - size) / stride + 1; }
__device__ int last_window(int at, int stride, int windows) { return min(at / stride + 1, windows); }

// winner (N, OH, OW, C): the number a·KW + b of the largest pixel of the window, the first of equals. Padding never wins;
// what is not a number does.
KERNEL max_pool(IN x, OUT y, unsigned short* __restrict__ winner, int pixels, WINDOW) {
    EACH_ROW(r, pixels) {
        const int p = r;
        const int j = p % OW, i = p / OW % OH, n = p / OW / OH;
        const int a0 = max(0, top - i * SH), a1 = min(KH, H + top - i * SH);  // taps inside the image
        const int b0 = max(0, left - j * SW), b1 = min(KW, W + left - j * SW);
        EACH_COLUMN(c, C) {
            const Reals* window = together(x) + ((long long)(n * H + i * SH - top) * W + j * SW - left) * C + c;
            Reals best = window[(a0 * W + b0) * C];  // window[0] is its tap (0, 0)
            Numbers number;
            OF_CHANNELS(k) number.at[k] = a0 * KW + b0;
            for (int a = a0; a < a1; a++)
                for (int b = b0; b < b1; b++) {
                    const Reals value = window[(a * W + b) * C];
                    OF_CHANNELS(k)
                        if (!(value.at[k] <= best.at[k]) && best.at[k] == best.at[k])
                            best.at[k] = value.at[k], number.at[k] = a * KW + b;
                }
            together(y)[(long long)p * C + c] = best;
            reinterpret_cast<Numbers*>(winner)[(long long)p * C + c] = number;
        }
    }
}

// dx = Σ dy of the windows whose winner this pixel was; `pixels` are those of dx.
KERNEL max_pool_backward(IN dy, const unsigned short* __restrict__ winner, OUT dx, int pixels, WINDOW) {
    EACH_ROW(r, pixels) {
        const int p = r;
        const int column = p % W + left, row = p / W % H + top, n = p / W / H;
        const int i0 = first_window(row, KH, SH), i1 = last_window(row, SH, OH);
        const int j0 = first_window(column, KW, SW), j1 = last_window(column, SW, OW);
        EACH_COLUMN(c, C) {
            Reals sum = {};
            for (int i = i0; i < i1; i++)
                for (int j = j0; j < j1; j++) {
                    const long long place = ((long long)(n * OH + i) * OW + j) * C + c;
                    const int number = (row - i * SH) * KW + column - j * SW;
                    const Numbers won = reinterpret_cast<const Numbers*>(winner)[place];
                    const Reals value = together(dy)[place];
                    OF_CHANNELS(k)
                        if (won.at[k] == number) sum.at[k] += value.at[k];
                }
            together(dx)[(long long)p * C + c] = sum;
        }
    }
}

// y = the mean over the pixels of the window that lie inside the image.
KERNEL avg_pool(IN x, OUT y, int pixels, WINDOW) {
    EACH_ROW(r, pixels) {
        const int p = r;
        const int j = p % OW, i = p / OW % OH, n = p / OW / OH;
        const int h0 = max(0, i * SH - top), h1 = min(H, i * SH - top + KH);
        const int w0 = max(0, j * SW - left), w1 = min(W, j * SW - left + KW);
        EACH_COLUMN(c, C) {
            Reals sum = {};
            for (int h = h0; h < h1; h++)
                for (int w = w0; w < w1; w++) {
                    const Reals value = together(x)[((long long)(n * H + h) * W + w) * C + c];
                    OF_CHANNELS(k) sum.at[k] += value.at[k];
                }
            OF_CHANNELS(k) sum.at[k] /= (h1 - h0) * (w1 - w0);
            together(y)[(long long)p * C + c] = sum;
        }
    }
}

// dx = Σ dy / (pixels of the window inside the image) over the windows that this pixel lies in.
KERNEL avg_pool_backward(IN dy, OUT dx, int pixels, WINDOW) {
    EACH_ROW(r, pixels) {
        const int p = r;
        const int column = p % W + left, row = p / W % H + top, n = p / W / H;
        const int i0 = first_window(row, KH, SH), i1 = last_window(row, SH, OH);
        const int j0 = first_window(column, KW, SW), j1 = last_window(column, SW, OW);
        EACH_COLUMN(c, C) {
            Reals sum = {};
            for (int i = i0; i < i1; i++) {
                const int high = min(H, i * SH - top + KH) - max(0, i * SH - top);
                for (int j = j0; j < j1; j++) {
                    const int wide = min(W, j * SW - left + KW) - max(0, j * SW - left);
                    const Reals value = together(dy)[((long long)(n * OH + i) * OW + j) * C + c];
                    OF_CHANNELS(k) sum.at[k] += value.at[k] / (high * wide);
                }
            }
            together(dx)[(long long)p * C + c] = sum;
        }
    }
}
