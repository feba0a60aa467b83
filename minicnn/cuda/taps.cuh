// The taps of a kernel along one axis that reach an output position, for the gradient of a strided convolution: position q
// is reached where q + a·step + offset is a multiple of `down`, and which taps `a` do that depends on q modulo down, its
// phase. Every tap has one phase; sorted by it, the taps of a phase are a small convolution without a stride.
#pragma once
#include "common.cuh"

struct Axis {
    int length, step, offset, down;  // length: the number of taps
};

struct Taps {
    int first, stride, number, before;  // those of one phase, and how many those of the phases before are
};

__device__ __forceinline__ int phase_of(const Axis& axis, int tap) {
    const int reached = (tap * axis.step + axis.offset) % axis.down;  // of position 0; C++ rounds towards 0
    return reached > 0 ? axis.down - reached : -reached;
}

__device__ __forceinline__ Taps taps_of(const Axis& axis, int phase) {
    Taps taps = {0, 1, 0, 0};
    if (axis.down == 1) {
        taps.number = axis.length;
        return taps;
    }
    for (int tap = 0; tap < axis.length; tap++) {
        const int other = phase_of(axis, tap);
        if (other < phase) taps.before++;
        if (other != phase) continue;
        if (taps.number == 0) taps.first = tap;
        if (taps.number == 1) taps.stride = tap - taps.first;
        taps.number++;
    }
    return taps;
}
