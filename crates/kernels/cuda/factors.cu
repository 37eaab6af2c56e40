// Both factors of an adapter at once: from float32 to the kind of activations, `b` times the scale, and their gradients back.
//
// a: [a_len], b: [b_len], both: [a_len + b_len].
#include "element.cuh"

#define KERNEL(KIND, T)                                                                                              \
  extern "C" __global__ void narrow_factors_##KIND(const float* a, const float* b, float scale, T* both, long long a_len, \
                                                   long long b_len) {                                                \
    for (long long at = first_place(); at < a_len + b_len; at += all_threads())                                      \
      narrow(at < a_len ? a[at] : b[at - a_len] * scale, both[at]);                                                  \
  }                                                                                                                  \
  extern "C" __global__ void widen_factors_##KIND(const T* of_a, const T* of_b, float scale, float* a, float* b,     \
                                                  long long a_len, long long b_len) {                                \
    for (long long at = first_place(); at < a_len + b_len; at += all_threads()) {                                    \
      if (at < a_len) a[at] = widen(of_a[at]);                                                                       \
      else b[at - a_len] = widen(of_b[at - a_len]) * scale;                                                          \
    }                                                                                                                \
  }

KERNEL(float32, float)
KERNEL(bfloat16, BFloat16)
KERNEL(float16, Float16)
