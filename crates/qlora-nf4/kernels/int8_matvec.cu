// Products of an 8-bit weight with up to 16 rows of inputs, in float32 sums. A warp takes one row of the weight.
//
// codes: [outputs, inputs] int8; absmax: [outputs] float32; xs: [rows, inputs], ys: [rows, outputs] bfloat16; inputs is a
// multiple of 16.
#include <cuda_bf16.h>

template <int ROWS>
__device__ void matvec(const uint4* __restrict__ codes, const float* __restrict__ absmax,
                       const __nv_bfloat16* __restrict__ xs, __nv_bfloat16* __restrict__ ys, int inputs, int outputs) {
  const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= outputs) return;
  float sums[ROWS] = {};
  const int units = inputs / 16;
  for (int unit = lane; unit < units; unit += 32) {
    const uint4 bytes = codes[(long long)row * units + unit];
    const unsigned words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
#pragma unroll
    for (int m = 0; m < ROWS; ++m) {
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const uint2 four = *reinterpret_cast<const uint2*>(xs + (long long)m * inputs + unit * 16 + w * 4);
        const float2 low = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&four.x));
        const float2 high = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&four.y));
        sums[m] = fmaf((float)(signed char)(words[w]), low.x, sums[m]);
        sums[m] = fmaf((float)(signed char)(words[w] >> 8), low.y, sums[m]);
        sums[m] = fmaf((float)(signed char)(words[w] >> 16), high.x, sums[m]);
        sums[m] = fmaf((float)(signed char)(words[w] >> 24), high.y, sums[m]);
      }
    }
  }
  const float scale = absmax[row] * (1.0f / 127.0f);
#pragma unroll
  for (int m = 0; m < ROWS; ++m) {
    for (int step = 16; step > 0; step /= 2) sums[m] += __shfl_down_sync(0xffffffffu, sums[m], step);
    if (lane == 0) ys[(long long)m * outputs + row] = __float2bfloat16_rn(sums[m] * scale);
  }
}

#define KERNEL(ROWS)                                                                                              \
  extern "C" __global__ void int8_matvec_##ROWS(const uint4* codes, const float* absmax, const __nv_bfloat16* xs, \
                                                __nv_bfloat16* ys, int inputs, int outputs) {                     \
    matvec<ROWS>(codes, absmax, xs, ys, inputs, outputs);                                                         \
  }

KERNEL(1)
KERNEL(2)
KERNEL(4)
KERNEL(8)
KERNEL(16)
