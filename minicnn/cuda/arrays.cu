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

// Batch number *step of an epoch of so many `steps`: x[n] = data[order[… + n]], bytes made numbers, and y[n] its label,
// unless labels is null. A row of threads takes an image of so many `numbers`.
KERNEL gather(const given* __restrict__ data, const int* __restrict__ labels, const int* __restrict__ order,
              OUT x, int* __restrict__ y, const long long* step, int batch, int steps, int numbers) {
    const int* chosen = order + *step % steps * batch;
    EACH_ROW(n, batch) {
        const given* image = data + (long long)chosen[n] * numbers;
        EACH_COLUMN(k, numbers) {
            x[n * numbers + k] = image[k];
            if (k == 0 && labels) y[n] = labels[chosen[n]];
        }
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

// Parts of one array y: block (·, p) copies places[1][p] numbers of array p to places[0][p]; places is (2, 16).
KERNEL collect(IN a0, IN a1, IN a2, IN a3, IN a4, IN a5, IN a6, IN a7, IN a8, IN a9, IN a10, IN a11, IN a12, IN a13,
               IN a14, IN a15, OUT y, const long long* __restrict__ places) {
    const real* const parts[16] = {a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15};
    const real* part = parts[blockIdx.y];
    real* to = y + places[blockIdx.y];
    EACH(k, places[16 + blockIdx.y]) to[k] = part[k];
}
