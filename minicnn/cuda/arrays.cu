// What goes in and out of a captured step, which knows its number only from a counter on the device.
#include "rows.cuh"

#ifndef OF_BYTES
#define OF_BYTES 1  // whether what is gathered are bytes
#endif
#if OF_BYTES
typedef unsigned char given;
#else
typedef real given;
#endif

// Batch number *step of an epoch of so many `steps`: x[n] = data[order[… + n]], bytes made numbers. A row of threads takes
// an image of so many `numbers`.
KERNEL gather(const given* __restrict__ data, const int* __restrict__ order, OUT x, const long long* step, int batch,
              int steps, int numbers) {
    const int* chosen = order + *step % steps * batch;
    EACH_ROW(n, batch) {
        const given* image = data + (long long)chosen[n] * numbers;
        EACH_COLUMN(k, numbers) x[n * numbers + k] = image[k];
    }
}

// Row *step of kept (steps, count) becomes these values: what the host reads at the end of an epoch.
KERNEL keep(IN values, OUT kept, const long long* step, int steps, long long count) {
    real* row = kept + *step % steps * count;
    EACH(k, count) row[k] = values[k];
}

// The other way round: values become row *step of kept.
KERNEL take(IN kept, OUT values, const long long* step, int steps, long long count) {
    const real* row = kept + *step % steps * count;
    EACH(k, count) values[k] = row[k];
}

// Counters, one for each thread, one further.
KERNEL advance_counter(long long* counter) { ++counter[threadIdx.x]; }

// Parts of one array y: block (·, p) copies places[1][p] numbers of array p to places[0][p]; places is (2, 32).
KERNEL collect(IN a0, IN a1, IN a2, IN a3, IN a4, IN a5, IN a6, IN a7, IN a8, IN a9, IN a10, IN a11, IN a12, IN a13,
               IN a14, IN a15, IN a16, IN a17, IN a18, IN a19, IN a20, IN a21, IN a22, IN a23, IN a24, IN a25, IN a26,
               IN a27, IN a28, IN a29, IN a30, IN a31, OUT y, const long long* __restrict__ places) {
    const real* part = a0;
    switch (blockIdx.y) {  // a local array would lie in slow memory
        case 1: part = a1; break; case 2: part = a2; break; case 3: part = a3; break;
        case 4: part = a4; break; case 5: part = a5; break; case 6: part = a6; break;
        case 7: part = a7; break; case 8: part = a8; break; case 9: part = a9; break;
        case 10: part = a10; break; case 11: part = a11; break; case 12: part = a12; break;
        case 13: part = a13; break; case 14: part = a14; break; case 15: part = a15; break;
        case 16: part = a16; break; case 17: part = a17; break; case 18: part = a18; break;
        case 19: part = a19; break; case 20: part = a20; break; case 21: part = a21; break;
        case 22: part = a22; break; case 23: part = a23; break; case 24: part = a24; break;
        case 25: part = a25; break; case 26: part = a26; break; case 27: part = a27; break;
        case 28: part = a28; break; case 29: part = a29; break; case 30: part = a30; break;
        case 31: part = a31; break;
    }
    real* to = y + places[blockIdx.y];
#pragma unroll 4
    EACH(k, places[32 + blockIdx.y]) to[k] = part[k];
}
