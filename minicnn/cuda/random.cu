// The counter-based random generator, and dropout and noise made of it: the bits of `Ops.random_bits` on every device.
#include "philox.cuh"

KERNEL random_bits(unsigned* __restrict__ bits, long long count, KEY) {
    EACH_PACK(block, count) {
        const Four four = philox(block, KEY_OF);
        OF_PACK(k)
            if (4 * block + k < count) bits[4 * block + k] = four.word[k];
    }
}

// y = x · scale where the random number of the index reaches the threshold, else 0; its gradient is the same map of dy.
KERNEL dropout(IN x, OUT y, long long count, KEY, unsigned threshold, real scale) {
    EACH_PACK(block, count) {
        Pack pack = load(x, block, count);
        const Four four = philox(block, KEY_OF);
        OF_PACK(k) pack.at[k] = four.word[k] >= threshold ? pack.at[k] * scale : 0;
        store(pack, y, block, count);
    }
}

// y = x · factor for images of so many pixels of C channels, with a factor (N, C) for every channel of an image.
KERNEL times_channels(IN x, IN factor, OUT y, int rows, int pixels, int C) {
    EACH_COLUMN(c, C)
        EACH_ROW(r, rows) y[r * C + c] = x[r * C + c] * factor[(int)r / pixels * C + c];
}

// y = x + stddev · z, z normal; of every two numbers one has the cosine and one the sine.
KERNEL gaussian_noise(IN x, OUT y, long long count, KEY, double stddev) {
    EACH_PACK(block, count) {
        Pack pack = load(x, block, count);
        const Four four = philox(block, KEY_OF);
        const Two one = normal(four.word[0], four.word[1]), other = normal(four.word[2], four.word[3]);
        pack.at[0] += stddev * one.first, pack.at[1] += stddev * one.second;
        pack.at[2] += stddev * other.first, pack.at[3] += stddev * other.second;
        store(pack, y, block, count);
    }
}
