// What the kernels use of CUDA C++, for a host compiler: a test builds a kernel's own source with it, and runs it without a GPU.
//
// The threads of a block are fibers. One runs until it comes to a barrier or a shuffle; when all of the block, or of the warp,
// are there, they go on. What never comes together is an error and not a hang. Blocks run one after another; shared memory is
// filled with NaN before each, since nothing may be taken over from the last.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static __attribute__((section("emulated_shared")))

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline int min(int a, int b) { return a < b ? a : b; }
using std::isnan;

// The sections of shared memory; null in a kernel that has none.
extern "C" __attribute__((weak, visibility("hidden"))) char __start_emulated_shared[], __stop_emulated_shared[];

namespace emulated {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 64 << 10;

struct Index {
  unsigned x = 0;
};

enum class At { ready, barrier, shuffle, end };

struct Thread {
  ucontext_t context;
  std::vector<char> stack;
  At at = At::ready;
  unsigned value = 0, source = 0;  // what a lane gives to a shuffle, and whose it asks for
};

struct Block {
  std::vector<Thread> threads;
  ucontext_t scheduler;
  Index index, dim, grid;
  unsigned current = 0;
  void (*body)(void**) = nullptr;
  void** arguments = nullptr;
  const char* error = nullptr;
};
static Block block;

inline void wait(At at) {
  Thread& self = block.threads[block.current];
  self.at = at;
  swapcontext(&self.context, &block.scheduler);
}

inline void enter() {
  block.body(block.arguments);
  block.threads[block.current].at = At::end;
}

inline unsigned shuffle(unsigned mask, unsigned value, unsigned source) {
  if (mask != 0xffffffffu) block.error = "a shuffle of a part of a warp";
  Thread& self = block.threads[block.current];
  self.value = value;
  self.source = source;
  wait(At::shuffle);
  return self.value;
}

inline bool all_at(unsigned from, unsigned to, At at) {
  for (unsigned i = from; i < to; ++i)
    if (block.threads[i].at != at) return false;
  return true;
}

// Lets go on who has come together; false when there is nobody.
inline bool release() {
  const unsigned count = (unsigned)block.threads.size();
  bool any = false;
  for (unsigned warp = 0; warp < count; warp += WARP) {
    if (!all_at(warp, warp + WARP, At::shuffle)) continue;
    unsigned values[WARP];
    for (unsigned lane = 0; lane < WARP; ++lane) values[lane] = block.threads[warp + lane].value;
    for (unsigned lane = 0; lane < WARP; ++lane) {
      Thread& thread = block.threads[warp + lane];
      thread.value = values[thread.source % WARP];
      thread.at = At::ready;
    }
    any = true;
  }
  if (all_at(0, count, At::barrier)) {
    for (Thread& thread : block.threads) thread.at = At::ready;
    any = true;
  }
  return any;
}

inline void run_block() {
  if (__start_emulated_shared != nullptr)
    std::memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);
  for (Thread& thread : block.threads) {
    thread.at = At::ready;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = &block.scheduler;
    makecontext(&thread.context, enter, 0);
  }
  const unsigned count = (unsigned)block.threads.size();
  do {
    for (block.current = 0; block.current < count; ++block.current)
      if (block.threads[block.current].at == At::ready)
        swapcontext(&block.scheduler, &block.threads[block.current].context);
  } while (release() && block.error == nullptr);
  if (block.error == nullptr && !all_at(0, count, At::end))
    block.error = "some threads wait for others, which have ended or wait elsewhere";
}

// A kernel is called with the addresses of its arguments, as the CUDA driver does.
template <auto KERNEL>
struct Call;
template <class... A, void (*KERNEL)(A...)>
struct Call<KERNEL> {
  template <size_t... I>
  static void spread(void** arguments, std::index_sequence<I...>) {
    KERNEL(*static_cast<A*>(arguments[I])...);
  }
  static void run(void** arguments) { spread(arguments, std::index_sequence_for<A...>()); }
};

static std::map<std::string, void (*)(void**)>& kernels() {
  static std::map<std::string, void (*)(void**)> all;
  return all;
}

struct Register {
  Register(const char* name, void (*run)(void**)) { kernels()[name] = run; }
};

}  // namespace emulated

#define EMULATE(NAME) static emulated::Register register_##NAME(#NAME, emulated::Call<NAME>::run);

// What went wrong, or null.
extern "C" __attribute__((visibility("default"))) const char* emulate(const char* name, unsigned blocks, unsigned threads,
                                                                      void** arguments) {
  const auto found = emulated::kernels().find(name);
  if (found == emulated::kernels().end()) return "no such kernel";
  if (threads == 0 || threads > 1024 || threads % emulated::WARP != 0) return "threads that are not whole warps";
  emulated::Block& block = emulated::block;
  block.threads.resize(threads);
  for (emulated::Thread& thread : block.threads) thread.stack.resize(emulated::STACK);
  block.body = found->second;
  block.arguments = arguments;
  block.error = nullptr;
  block.dim.x = threads;
  block.grid.x = blocks;
  for (block.index.x = 0; block.index.x < blocks && block.error == nullptr; ++block.index.x) emulated::run_block();
  return block.error;
}

#define threadIdx (emulated::Index{emulated::block.current})
#define blockIdx (emulated::block.index)
#define blockDim (emulated::block.dim)
#define gridDim (emulated::block.grid)

inline void __syncthreads() { emulated::wait(emulated::At::barrier); }

inline float __shfl_down_sync(unsigned mask, float x, unsigned step) {
  const unsigned lane = threadIdx.x % emulated::WARP, from = lane + step;
  return __uint_as_float(emulated::shuffle(mask, __float_as_uint(x), from < emulated::WARP ? from : lane));
}

inline float __shfl_xor_sync(unsigned mask, float x, unsigned lanes) {
  return __uint_as_float(emulated::shuffle(mask, __float_as_uint(x), (threadIdx.x % emulated::WARP) ^ lanes));
}

// Every lane sees every other's word, one after another.
inline bool __any_sync(unsigned mask, bool yes) {
  const unsigned lane = threadIdx.x % emulated::WARP;
  bool any = false;
  for (unsigned i = 0; i < emulated::WARP; ++i) any |= emulated::shuffle(mask, yes, (lane + i) % emulated::WARP) != 0;
  return any;
}
