// A GPU for tests: runs the blocks of a kernel one after the other on the CPU, every thread of a block as a fiber.
//
// It is stricter than the hardware. Shared memory begins as NaN; an asynchronous copy arrives as late as it may, and until
// then its target is NaN; threads, and blocks, can be run in either order; arrays end at a page nobody may touch, and those
// a kernel takes as const cannot be written. Arguments are compared with the kernel's parameters. A thread that ends, or
// waits elsewhere, while others of its warp or block wait for it is an error.
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

struct dim3 {
    unsigned x, y, z;
};

namespace emulator {

struct Copy {
    void* to;
    const void* from;  // null: zeros
    size_t bytes;
};

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Fiber {
    ucontext_t context;
    jmp_buf resume;
    bool started = false;
    State state = DONE;
    dim3 thread{};
    int number = 0;
    unsigned exchanges = 0;
    std::vector<std::vector<Copy>> groups{1};  // of asynchronous copies; the last one is open
};

constexpr size_t STACK = 128 * 1024, LANES = 32, WIDEST = 128;  // bytes
static std::vector<Fiber*> fibers;
static Fiber* current;
static jmp_buf scheduler;
static sigjmp_buf fault;
static dim3 block_index, block_size, grid_size;
static char* dynamic_memory;
static std::string message;
static void (*body)(void*);
static void* body_argument;
static char slots[2][32][LANES][WIDEST];  // [turn][warp][lane]: what lanes show each other

[[noreturn]] inline void fail(const std::string& text) {
    message = text;
    siglongjmp(fault, 1);
}

__attribute__((noinline)) inline void pause(State state) {
    current->state = state;
    if (!_setjmp(current->resume)) _longjmp(scheduler, 1);
}

inline void fiber_main() {
    for (;;) {  // one turn for each block
        body(body_argument);
        for (auto& group : current->groups)
            if (!group.empty()) fail("a thread ended before its asynchronous copies had arrived");
        pause(DONE);
    }
}

__attribute__((noinline)) inline void run(Fiber* fiber) {
    current = fiber;
    if (_setjmp(scheduler)) return;
    if (fiber->started) _longjmp(fiber->resume, 1);
    fiber->started = true;
    setcontext(&fiber->context);
}

inline Fiber* make_fiber(int number) {
    Fiber* fiber = new Fiber;
    fiber->number = number;
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fiber->context.uc_stack.ss_size = STACK;
    makecontext(&fiber->context, fiber_main, 0);
    return fiber;
}

inline std::string counts(int first, int last) {
    int number[4] = {};
    for (int i = first; i < last; i++) number[fibers[i]->state]++;
    char text[200];
    snprintf(text, sizeof text, "of threads %d to %d, %d wait for the block, %d for their warp, and %d have ended",
             first, last - 1, number[AT_BLOCK_BARRIER], number[AT_WARP_BARRIER], number[DONE]);
    return text;
}

inline bool all(int first, int last, State state) {
    for (int i = first; i < last; i++)
        if (fibers[i]->state != state) return false;
    return true;
}

inline void run_block(int threads, bool backwards) {
    for (int i = 0; i < threads; i++) fibers[i]->state = READY;
    const int warps = (threads + 31) / 32;
    for (;;) {
        for (int turn = 0; turn < warps; turn++) {
            const int first = 32 * (backwards ? warps - 1 - turn : turn), last = std::min(first + 32, threads);
            for (;;) {  // a warp runs until it ends or waits for the block
                for (int i = 0; i < last - first; i++) {
                    Fiber* fiber = fibers[backwards ? last - 1 - i : first + i];
                    if (fiber->state == READY) run(fiber);
                }
                if (!all(first, last, AT_WARP_BARRIER)) break;
                for (int i = first; i < last; i++) fibers[i]->state = READY;
            }
            for (int i = first; i < last; i++)
                if (fibers[i]->state == AT_WARP_BARRIER) fail("a warp that never meets: " + counts(first, last));
        }
        if (all(0, threads, DONE)) return;
        if (!all(0, threads, AT_BLOCK_BARRIER)) fail("a barrier some threads never reach: " + counts(0, threads));
        for (int i = 0; i < threads; i++) fibers[i]->state = READY;
    }
}

constexpr size_t LARGE = 1 << 20;                     // bytes from which on memory is not kept
static std::map<size_t, std::vector<char*>> regions;  // not in use now, by their size

// A copy of an array that ends, but for its alignment, at a page that cannot be touched.
struct Guarded {
    char *region, *start;
    size_t bytes, all;
    bool constant;

    Guarded(const char* array, size_t bytes) : bytes(bytes), constant(true) {
        const size_t page = 4096, data = (bytes + 16 + page - 1) / page * page;
        all = data + 2 * page;
        std::vector<char*>& free = regions[all];
        if (free.empty()) {
            free.push_back(static_cast<char*>(mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
            mprotect(free.back() + page, data, PROT_READ | PROT_WRITE);
        }
        region = free.back();
        free.pop_back();
        memset(region + page, 0xff, data);  // NaN
        start = region + page + data - bytes;
        start -= (reinterpret_cast<uintptr_t>(start) - reinterpret_cast<uintptr_t>(array)) % 16;  // aligned as it was
        memcpy(start, array, bytes);
    }
    void close() {
        if (constant) mprotect(region + 4096, all - 8192, PROT_READ);
    }
    void give_back() {
        if (constant) mprotect(region + 4096, all - 8192, PROT_READ | PROT_WRITE);
        if (all < LARGE)
            regions[all].push_back(region);
        else
            munmap(region, all);
    }
    bool intact() const {
        for (const char* c = region + 4096; c < region + all - 4096; c++)
            if ((c < start || c >= start + bytes) && *c != char(0xff)) return false;
        return true;
    }
};

// What Python says of an argument; kind is as in NumPy: f, i, u.
struct Argument {
    const void* data;  // an array's first number, or where the scalar is
    int64_t bytes;     // of an array; -1: a scalar
    int32_t itemsize;
    int32_t kind;
};

// What a kernel takes: numbers, or arrays of them; 1 byte for an array of anything.
struct Parameter {
    bool array, floats, constant;
    int itemsize;
};

template <class T>
constexpr Parameter parameter() {
    typedef std::remove_pointer_t<T> item;
    typedef std::conditional_t<std::is_void<item>::value, char, std::remove_cv_t<item>> number;
    return {std::is_pointer<T>::value, std::is_floating_point<number>::value, std::is_const<item>::value,
            int(sizeof(number))};
}

inline std::string check(const Parameter& taken, const Argument& argument, int position) {
    const bool array = argument.bytes >= 0, null = !array && argument.itemsize == 8 && argument.kind == 'u' &&
                                                   *static_cast<const uint64_t*>(argument.data) == 0;
    const bool same = taken.itemsize == argument.itemsize && taken.floats == (argument.kind == 'f');
    if ((taken.array && null) || (taken.array == array && same)) return "";
    char text[200];
    snprintf(text, sizeof text, "argument %d is %s of kind %c and %d bytes; the kernel takes %s of %s%d bytes",
             position, array ? "an array" : "a number", argument.kind, argument.itemsize,
             taken.array ? "an array" : "a number", taken.floats ? "floats of " : "", taken.itemsize);
    return text;
}

inline void on_fault(int, siginfo_t* info, void*) {
    char text[200];
    snprintf(text, sizeof text, "thread (%u, %u, %u) of block (%u, %u, %u) touches memory outside of its arrays (%p)",
             current->thread.x, current->thread.y, current->thread.z, block_index.x, block_index.y, block_index.z,
             info->si_addr);
    message = text;
    siglongjmp(fault, 1);
}

extern char shared_begin[] __asm__("__start_shared_memory") __attribute__((weak, visibility("hidden")));
extern char shared_end[] __asm__("__stop_shared_memory") __attribute__((weak, visibility("hidden")));

// A kernel and what each of its threads is called with.
struct Call {
    void (*kernel)();
    std::vector<void*> values;
};

inline const char* launch(Call& call, void (*of_thread)(void*), const std::vector<Parameter>& parameters,
                          Argument* arguments, int number, const int* shape, int backwards) {
    message.clear();
    if (number != int(parameters.size())) {
        message = "the kernel takes " + std::to_string(parameters.size()) + " arguments, not " + std::to_string(number);
        return message.c_str();
    }
    for (int i = 0; i < number; i++) {
        message = check(parameters[i], arguments[i], i);
        if (!message.empty()) return message.c_str();
    }

    std::map<std::pair<const void*, size_t>, Guarded> arrays;
    std::vector<void*> pointers(number);
    std::vector<void*>& values = call.values;
    values.resize(number);
    for (int i = 0; i < number; i++) {
        Argument& a = arguments[i];
        values[i] = const_cast<void*>(a.data);
        if (a.bytes < 0) continue;
        const char* data = static_cast<const char*>(a.data);
        for (auto& other : arrays) {
            const char* begin = static_cast<const char*>(other.first.first);
            const bool same = begin == data && other.second.bytes == size_t(a.bytes);
            if (!same && begin < data + a.bytes && data < begin + other.second.bytes)
                return (message = "two arrays overlap and are not the same").c_str();
        }
        Guarded& array = arrays.try_emplace({data, size_t(a.bytes)}, data, size_t(a.bytes)).first->second;
        array.constant = array.constant && parameters[i].constant;
        pointers[i] = array.start;
        values[i] = &pointers[i];
    }
    for (auto& array : arrays) array.second.close();

    grid_size = {unsigned(shape[0]), unsigned(shape[1]), unsigned(shape[2])};
    block_size = {unsigned(shape[3]), unsigned(shape[4]), unsigned(shape[5])};
    const int threads = shape[3] * shape[4] * shape[5];
    while (int(fibers.size()) < threads) fibers.push_back(make_fiber(int(fibers.size())));
    for (int i = 0; i < threads; i++) {
        const unsigned x = block_size.x, y = block_size.y, n = unsigned(i);
        fibers[i]->thread = {n % x, n / x % y, n / (x * y)};
        fibers[i]->exchanges = 0;
    }
    std::vector<char> none(shape[6]);
    Guarded room(none.data() - reinterpret_cast<uintptr_t>(none.data()) % 16, shape[6]);  // shared memory
    dynamic_memory = room.start;

    body = of_thread;
    body_argument = &call;

    static char signal_stack[64 * 1024];
    stack_t stack = {}, old_stack;
    stack.ss_sp = signal_stack;
    stack.ss_size = sizeof signal_stack;
    sigaltstack(&stack, &old_stack);
    struct sigaction action = {}, old_segv, old_bus;
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &old_segv);
    sigaction(SIGBUS, &action, &old_bus);
    if (!sigsetjmp(fault, 1)) {
        const unsigned x = grid_size.x, y = grid_size.y, blocks = x * y * grid_size.z;
        for (unsigned turn = 0; turn < blocks; turn++) {
            const unsigned n = backwards ? blocks - 1 - turn : turn;
            block_index = {n % x, n / x % y, n / (x * y)};
            memset(dynamic_memory, 0xff, shape[6]);
            if (shared_begin) memset(shared_begin, 0xff, shared_end - shared_begin);
            run_block(threads, backwards);
        }
    } else {  // the fibers are somewhere in the kernel, and are not used again
        fibers.clear();
    }
    sigaction(SIGSEGV, &old_segv, nullptr);
    sigaction(SIGBUS, &old_bus, nullptr);
    sigaltstack(&old_stack, nullptr);
    if (message.empty() && !room.intact()) message = "a kernel writes just outside of shared memory";
    room.constant = false;
    room.give_back();
    for (auto& array : arrays) {
        if (message.empty() && !array.second.intact()) message = "a kernel writes just outside of an array";
        if (!array.second.constant)
            memcpy(const_cast<void*>(array.first.first), array.second.start, array.second.bytes);
        array.second.give_back();
    }
    return message.empty() ? nullptr : message.c_str();
}

template <class... A, size_t... I>
void thread_of(const Call& call, void (*kernel)(A...), std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<A>*>(call.values[I])...);
}

template <class... A>
const char* launch(void (*kernel)(A...), Argument* arguments, int number, const int* shape, int backwards) {
    Call call{reinterpret_cast<void (*)()>(kernel), {}};
    auto of_thread = [](void* argument) {
        const Call& call = *static_cast<const Call*>(argument);
        thread_of(call, reinterpret_cast<void (*)(A...)>(call.kernel), std::index_sequence_for<A...>());
    };
    return launch(call, of_thread, {parameter<A>()...}, arguments, number, shape, backwards);
}

// What lane `from` of the same warp shows in this exchange.
template <class T>
T exchange(T value, int from) {
    static_assert(sizeof(T) <= WIDEST);
    const int warp = current->number / 32, lane = current->number % 32, turn = current->exchanges++ % 2;
    memcpy(slots[turn][warp][lane], &value, sizeof(T));
    pause(AT_WARP_BARRIER);
    memcpy(&value, slots[turn][warp][from], sizeof(T));
    return value;
}

template <class T>
const T& shown(int turn, int lane) {
    return *reinterpret_cast<const T*>(slots[turn][current->number / 32][lane]);
}

inline void require_all(unsigned mask) {
    if (mask != 0xffffffffu) fail("only exchanges among all 32 lanes are emulated");
}

}  // namespace emulator

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static __attribute__((section("shared_memory")))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define threadIdx (emulator::current->thread)
#define blockIdx emulator::block_index
#define blockDim emulator::block_size
#define gridDim emulator::grid_size
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::dynamic_memory)

using std::max;
using std::min;

inline void __syncthreads() { emulator::pause(emulator::AT_BLOCK_BARRIER); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulator::require_all(mask);
    emulator::pause(emulator::AT_WARP_BARRIER);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
    emulator::require_all(mask);
    return emulator::exchange(value, (emulator::current->number % 32) ^ distance);
}
inline unsigned atomicInc(unsigned* pointer, unsigned most) {
    const unsigned before = *pointer;
    *pointer = before >= most ? 0 : before + 1;
    return before;
}
inline void __threadfence() {}
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

template <int BYTES, bool REUSED = false>
void copy_async(void* shared, const void* global, bool valid) {
    if (reinterpret_cast<uintptr_t>(shared) % BYTES || (valid && reinterpret_cast<uintptr_t>(global) % BYTES))
        emulator::fail("an asynchronous copy that is not aligned");
    memset(shared, 0xff, BYTES);  // until it arrives
    emulator::current->groups.back().push_back({shared, valid ? global : nullptr, BYTES});
}
inline void copy_commit() { emulator::current->groups.emplace_back(); }
template <int PENDING>
void copy_wait() {
    auto& groups = emulator::current->groups;
    while (groups.size() > PENDING + 1) {
        for (const emulator::Copy& copy : groups.front())
            if (copy.from)
                memcpy(copy.to, copy.from, copy.bytes);
            else
                memset(copy.to, 0, copy.bytes);
        groups.erase(groups.begin());
    }
}
inline void mma_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    struct Shown {
        float a[4], b[2];
    } mine;
    for (int i = 0; i < 4; i++) mine.a[i] = __uint_as_float(a[i] & ~0x1fffu);
    for (int i = 0; i < 2; i++) mine.b[i] = __uint_as_float(b[i] & ~0x1fffu);
    const int lane = emulator::current->number % 32, group = lane / 4, t = lane % 4;
    const int turn = emulator::current->exchanges % 2;
    emulator::exchange(mine, lane);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 8; k++)
            c[i] += emulator::shown<Shown>(turn, 4 * group + k % 4).a[i / 2 + k / 4 * 2] *
                    emulator::shown<Shown>(turn, 4 * (2 * t + i % 2) + k % 4).b[k / 4];
}
inline void load_matrices(unsigned (&to)[4], const void* row) {
    const int lane = emulator::current->number % 32, turn = emulator::current->exchanges % 2;
    if (reinterpret_cast<uintptr_t>(row) % 16) emulator::fail("a row of a matrix that is not aligned");
    emulator::exchange(row, lane);
    const void* rows[4];
    for (int i = 0; i < 4; i++) rows[i] = emulator::shown<const void*>(turn, 8 * i + lane / 4);
    for (int i = 0; i < 4; i++) memcpy(&to[i], static_cast<const char*>(rows[i]) + 4 * (lane % 4), 4);
}
