// Work of ours on libtorch's own threads. A second pool beside OpenMP's, whose threads spin after each of libtorch's
// operations, would fight with it for the cores.
#include <ATen/Parallel.h>
#include <dlfcn.h>

// Calls `body(data)` once on every thread of libtorch's pool, or once where there is no pool to be had.
extern "C" void torch_ext_on_all_threads(void (*body)(void*), void* data) {
  // The entry point that compilers use for `#pragma omp parallel`: libgomp's, which LLVM's and Intel's runtimes have too.
  using Start = void (*)(void (*)(void*), void*, unsigned, unsigned);
  static const Start start = reinterpret_cast<Start>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  const int threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  if (start != nullptr && threads > 1) {
    start(body, data, static_cast<unsigned>(threads), 0);
  } else {
    body(data);
  }
}
