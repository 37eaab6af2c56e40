// libtorch's threads for loops of others.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <c10/core/GradMode.h>
#include <dlfcn.h>
#include "guard.h"

namespace {

// GNU OpenMP's entry point, which the compiler calls for `#pragma omp parallel`: the threads are those of the runtime that
// libtorch has loaded, whatever compiler and flags this file is built with.
using Fork = void (*)(void (*)(void*), void*, unsigned, unsigned);

}  // namespace

// Calls `run(user)` once on each of up to `most` of libtorch's threads at the same time; returns 0 where nothing was called.
extern "C" int torch_ext_parallel(int64_t most, void (*run)(void*), void* user) {
  TORCH_EXT_GUARD(
      0, static const auto fork = reinterpret_cast<Fork>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
      auto threads = std::min<int64_t>(most, at::in_parallel_region() ? 1 : at::get_num_threads());
      if (threads < 2) return 0;
      if (fork) {
        fork(run, user, static_cast<unsigned>(threads), 0);
        return 1;
      }
      // Another runtime: an iterator over a byte for each thread reaches the threads through libtorch's own code.
      at::AutoGradMode without_grad(false); auto bytes = at::empty({threads}, at::kByte);
      auto iter = at::TensorIterator::borrowing_nullary_op(bytes);
      iter.for_each([&](char**, const int64_t*, int64_t, int64_t) { run(user); }, 1);
      return 1;)
}
