// Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011), as in `Ops.random_bits`.
#pragma once
#include "rows.cuh"

// What random numbers are a function of. The step is `number`, or what stands at `counter` on the device, if that is not
// null: a captured step draws other numbers each time.
#define KEY unsigned long long seed, unsigned number, unsigned layer, const long long* counter
#define KEY_OF seed, (counter ? (unsigned)*counter : number), layer

struct Four {
    unsigned word[4];
};

// Numbers 4·block … 4·block + 3 of a key.
__device__ inline Four philox(unsigned long long block, unsigned long long seed, unsigned step, unsigned layer) {
    unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32), c2 = step, c3 = layer;
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned long long product0 = 0xD2511F53ull * c0, product1 = 0xCD9E8D57ull * c2;
        c0 = (unsigned)(product1 >> 32) ^ c1 ^ k0, c1 = (unsigned)product1;
        c2 = (unsigned)(product0 >> 32) ^ c3 ^ k1, c3 = (unsigned)product0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// One of four words, without an address for what lies in registers.
__device__ inline unsigned word_of(Four four, int k) {
    return k == 0 ? four.word[0] : k == 1 ? four.word[1] : k == 2 ? four.word[2] : four.word[3];
}

// Two normal numbers of mean 0 and variance 1 from two random ones (Box and Muller, 1958).
struct Two {
    double first, second;
};

__device__ inline Two normal(unsigned one, unsigned other) {
    const double radius = sqrt(-2 * log((one + 0.5) / 4294967296.0)), angle = other * (6.283185307179586 / 4294967296.0);
    return {radius * cos(angle), radius * sin(angle)};
}
