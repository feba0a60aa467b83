// What all kernels share: the number type, and one function for every instruction that C++ has no word for.
// Compiled by g++ for the tests, those functions are the ones of tests/cuda_emulator.h.
#pragma once

#ifndef REAL
#define REAL float
#endif
typedef REAL real;

#define KERNEL extern "C" __global__ void

#ifdef __CUDACC__

// Shared memory whose size is given at launch, as `type* name`.
#define DYNAMIC_SHARED(type, name)                         \
    extern __shared__ __align__(16) char dynamic_shared[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared)

// Begins to copy BYTES (4, 8 or 16, and aligned to that) to shared memory, or zeros where `valid` is false: then nothing is
// read, wherever `global` points. REUSED: what is soon read again goes through the L1 cache.
template <int BYTES, bool REUSED = false>
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid) {
    const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int bytes = valid ? BYTES : 0;  // of the source that are read; the rest is filled with zeros
    if (BYTES == 16 && !REUSED)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(BYTES), "r"(bytes)
                     : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all of this thread's groups but the last PENDING have arrived.
template <int PENDING>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// c += a · b for a warp: a (16, 8), b (8, 8), c (16, 8); of the factors the last 13 bits are ignored. With g = lane / 4 and
// t = lane % 4 a lane holds a[g, t], a[g+8, t], a[g, t+4], a[g+8, t+4]; b[t, g], b[t+4, g]; c[g, 2t], c[g, 2t+1],
// c[g+8, 2t], c[g+8, 2t+1].
__device__ __forceinline__ void mma_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8x8 matrices of 16-bit halves, which are 8x4 matrices of 32-bit numbers here: lane l gives the address of row l % 8
// of matrix l / 8, and receives of each matrix number l % 4 of row l / 4.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row) {
    const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

#endif

// x as a tensor core, which ignores the last 13 bits, will round it to the nearest number with 10 bits of mantissa: half a
// unit of the last bit that counts is added. NaN and infinity stay, which cvt.rna.tf32 needs one instruction more for.
__device__ __forceinline__ unsigned to_tf32(float x) {
    const float power = __uint_as_float(__float_as_uint(x) & 0xff800000u);  // of two, and the sign
    return __float_as_uint(fmaf(power, 1.0f / 2048, x));
}

// Whether 0 <= place < length: negative places are large unsigned numbers.
__device__ __forceinline__ bool within(int place, int length) {
    return static_cast<unsigned>(place) < static_cast<unsigned>(length);
}

// As many numbers as one instruction loads or stores.
struct __align__(16) Wide {
    static constexpr int SIZE = 16 / sizeof(real);
    real of[SIZE];
};

// Sums over the lanes of a warp; every lane gets the same bits.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}
