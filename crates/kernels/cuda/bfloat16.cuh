// bfloat16 as its bits, two to a word, the first in the lower half; and arrays that are arguments. With these, kernels need
// no header of CUDA, which a machine that only runs programs lacks.
#pragma once

struct Floats16 {
  float at[16];
};
struct Bytes16 {
  unsigned char at[16];
};

__device__ __forceinline__ float first_of(unsigned pair) { return __uint_as_float(pair << 16); }

__device__ __forceinline__ float second_of(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// To nearest even, as one instruction on a GPU (sm_80 and later).
__device__ __forceinline__ unsigned round_pair(float first, float second) {
#ifdef __CUDA_ARCH__
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
#else
  const float numbers[2] = {first, second};
  unsigned halves[2];
  for (int i = 0; i < 2; ++i) {
    const unsigned bits = __float_as_uint(numbers[i]);
    halves[i] = isnan(numbers[i]) ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  }
  return halves[0] | halves[1] << 16;
#endif
}
