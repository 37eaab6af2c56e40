// Dropout whose zeros are a function of the seed, the row and the column: those of the loops for a CPU (fused/dropout.rs).
//
// xs, out: [rows, width], len numbers; `kept` is the factor of what is not dropped, `threshold` the probability of a zero in 2^-32.
#include "element.cuh"

// splitmix64, as src/seed.rs has it.
__device__ __forceinline__ unsigned long long row_seed(unsigned long long seed, unsigned long long row) {
  unsigned long long z = seed ^ (row + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Wellons' lowbias32 (github.com/skeeto/hash-prospector).
__device__ __forceinline__ unsigned mixed(unsigned x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

template <int N, class T>
__device__ __forceinline__ void masked_part(const T* xs, T* out, unsigned long long seed, unsigned column,
                                            unsigned threshold, float kept) {
  const Pack<T, N> x = load<N>(xs);
  Pack<T, N> y;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const unsigned random = mixed(mixed((column + j) ^ (unsigned)seed) ^ (unsigned)(seed >> 32));
    narrow(widen(x.at[j]) * (random < threshold ? 0.0f : kept), y.at[j]);
  }
  store<N>(out, y);
}

#define KERNEL(KIND, T)                                                                                            \
  extern "C" __global__ void dropout_##KIND(const T* xs, T* out, long long seed, int threshold, float kept, int width, \
                                            long long len) {                                                       \
    const bool wide = width % WIDE<T> == 0 && is_wide(xs) && is_wide(out);                                         \
    const int step = wide ? WIDE<T> : 1;                                                                           \
    for (long long at = first_place() * step; at < len; at += all_threads() * step) {                              \
      const unsigned long long key = row_seed((unsigned long long)seed, (unsigned long long)(at / width));         \
      const unsigned column = (unsigned)(at % width);                                                              \
      if (wide) masked_part<WIDE<T>>(xs + at, out + at, key, column, (unsigned)threshold, kept);                   \
      else masked_part<1>(xs + at, out + at, key, column, (unsigned)threshold, kept);                              \
    }                                                                                                              \
  }

KERNEL(float32, float)
KERNEL(bfloat16, BFloat16)
KERNEL(float16, Float16)
