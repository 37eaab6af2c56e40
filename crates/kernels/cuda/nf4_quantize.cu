// bfloat16 to 4-bit codes and float32 scales. A warp takes one block of 64 numbers, two for each lane, which are one byte.
//
// xs: [blocks * 32] pairs; bounds: the 15 ascending midpoints and an infinity; order: the code of each value in ascending
// order; packed: [blocks * 32]; scales: [blocks].
#include "bfloat16.cuh"

extern "C" __global__ void nf4_quantize(const unsigned* __restrict__ xs, Floats16 bounds, Bytes16 order,
                                        unsigned char* __restrict__ packed, float* __restrict__ scales,
                                        long long blocks) {
  const long long block = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (block >= blocks) return;
  const unsigned pair = xs[block * 32 + lane];
  const float first = first_of(pair), second = second_of(pair);
  float largest = fmaxf(fabsf(first), fabsf(second));
  for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
  if (__any_sync(0xffffffffu, isnan(first) || isnan(second))) largest = __uint_as_float(0x7fc00000u);
  const float inverse = __frcp_rn(largest < 1e-38f ? 1e-38f : largest);
  const float numbers[2] = {__fmul_rn(first, inverse), __fmul_rn(second, inverse)};
  unsigned codes[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    int index = 0;
#pragma unroll
    for (int step = 8; step > 0; step /= 2)
      if (!(numbers[i] <= bounds.at[index + step - 1])) index += step;  // true for NaN
    codes[i] = order.at[index];
  }
  packed[block * 32 + lane] = (unsigned char)((codes[0] << 4) | codes[1]);
  if (lane == 0) scales[block] = largest;
}
