// Pooling: a row of threads makes the channels of one pixel, so neighbours in a warp read and write neighbouring numbers.
//
// The window of pixel (i, j) of y begins at pixel (i·SH - top, j·SW - left) of x. The gradient is gathered: every pixel of
// x adds up what it gets from the windows that it lies in, in a fixed order, and no two threads write to one place.
#include "rows.cuh"

#define WINDOW int H, int W, int C, int KH, int KW, int SH, int SW, int top, int left, int OH, int OW

// The first and the last but one number of the windows on one axis that pixel `at` lies in; it has tap at - first·stride.
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
            const real* window = x + ((long long)(n * H + i * SH - top) * W + j * SW - left) * C + c;  // its tap (0, 0)
            real best = window[(a0 * W + b0) * C];
            int number = a0 * KW + b0;
            for (int a = a0; a < a1; a++)
                for (int b = b0; b < b1; b++) {
                    const real value = window[(a * W + b) * C];
                    if (!(value <= best) && best == best) best = value, number = a * KW + b;
                }
            y[(long long)p * C + c] = best;
            winner[(long long)p * C + c] = number;
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
            real sum = 0;
            for (int i = i0; i < i1; i++)
                for (int j = j0; j < j1; j++) {
                    const long long k = ((long long)(n * OH + i) * OW + j) * C + c;
                    if (winner[k] == (row - i * SH) * KW + column - j * SW) sum += dy[k];
                }
            dx[(long long)p * C + c] = sum;
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
            real sum = 0;
            for (int h = h0; h < h1; h++)
                for (int w = w0; w < w1; w++) sum += x[((long long)(n * H + h) * W + w) * C + c];
            y[(long long)p * C + c] = sum / ((h1 - h0) * (w1 - w0));
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
            real sum = 0;
            for (int i = i0; i < i1; i++) {
                const int high = min(H, i * SH - top + KH) - max(0, i * SH - top);
                for (int j = j0; j < j1; j++) {
                    const int wide = min(W, j * SW - left + KW) - max(0, j * SW - left);
                    sum += dy[((long long)(n * OH + i) * OW + j) * C + c] / (high * wide);
                }
            }
            dx[(long long)p * C + c] = sum;
        }
    }
}
