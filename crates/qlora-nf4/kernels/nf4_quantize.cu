// bfloat16 to 4-bit codes and float32 scales. A warp takes one block of 64 numbers, two for each lane, which are one byte.
//
// bounds: the 15 ascending midpoints and an infinity; order: the code of each value in ascending order.
#include <cuda_bf16.h>

extern "C" __global__ void nf4_quantize(const __nv_bfloat162* __restrict__ xs, const float* __restrict__ bounds,
                                        const unsigned char* __restrict__ order, unsigned char* __restrict__ packed,
                                        float* __restrict__ scales, long long blocks) {
  const long long block = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (block >= blocks) return;
  const float2 pair = __bfloat1622float2(xs[block * 32 + lane]);
  float largest = fmaxf(fabsf(pair.x), fabsf(pair.y));
  bool nan = isnan(pair.x) || isnan(pair.y);
  for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
  nan = __any_sync(0xffffffffu, nan);
  if (nan) largest = __int_as_float(0x7fc00000);
  const float inverse = 1.0f / (largest < 1e-38f ? 1e-38f : largest);
  const float numbers[2] = {pair.x * inverse, pair.y * inverse};
  unsigned codes[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    int index = 0;
#pragma unroll
    for (int step = 8; step > 0; step /= 2)
      if (!(numbers[i] <= bounds[index + step - 1])) index += step;  // true for NaN
    codes[i] = order[index];
  }
  packed[block * 32 + lane] = (unsigned char)((codes[0] << 4) | codes[1]);
  if (lane == 0) scales[block] = largest;
}
