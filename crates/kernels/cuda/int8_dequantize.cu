// 8-bit codes to numbers: code * absmax / 127, rounded to the kind.
//
// codes: [rows, width] int8, len of them; absmax: [rows] float32; out: [len].
#include "element.cuh"

template <int N, class T>
__device__ __forceinline__ void number_part(const signed char* codes, float scale, T* out) {
  const Pack<signed char, N> code = load<N>(codes);
  Pack<T, N> y;
#pragma unroll
  for (int j = 0; j < N; ++j) narrow((float)code.at[j] * scale, y.at[j]);
  store<N>(out, y);
}

#define KERNEL(KIND, T)                                                                                            \
  extern "C" __global__ void int8_dequantize_##KIND(const signed char* codes, const float* absmax, T* out, int width, \
                                                    long long len) {                                               \
    /* What a thread takes at a time lies in one row. */                                                           \
    const bool wide = width % WIDE<T> == 0 && is_wide(codes) && is_wide(out);                                      \
    const int step = wide ? WIDE<T> : 1;                                                                           \
    for (long long at = first_place() * step; at < len; at += all_threads() * step) {                              \
      const float scale = absmax[at / width] * (1.0f / 127.0f);                                                    \
      if (wide) number_part<WIDE<T>>(codes + at, scale, out + at);                                                 \
      else number_part<1>(codes + at, scale, out + at);                                                            \
    }                                                                                                              \
  }

KERNEL(float32, float)
KERNEL(bfloat16, BFloat16)
KERNEL(float16, Float16)
