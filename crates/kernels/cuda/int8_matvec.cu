// Products of an 8-bit weight with up to 16 rows of inputs, in float32 sums. A warp takes one row of the weight.
//
// codes: [outputs, inputs] int8; absmax: [outputs] float32; xs: [rows, inputs], ys: [rows, outputs] bfloat16; inputs is a
// multiple of 16.
#include "bfloat16.cuh"

template <int ROWS>
__device__ void matvec(const uint4* __restrict__ codes, const float* __restrict__ absmax, const uint2* __restrict__ xs,
                       unsigned short* __restrict__ ys, int rows, int inputs, int outputs) {
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
        // Rows that are not there are read as the last one.
        const uint2 four = xs[((long long)min(m, rows - 1) * units + unit) * 4 + w];
        sums[m] = fmaf((float)(signed char)(words[w]), first_of(four.x), sums[m]);
        sums[m] = fmaf((float)(signed char)(words[w] >> 8), second_of(four.x), sums[m]);
        sums[m] = fmaf((float)(signed char)(words[w] >> 16), first_of(four.y), sums[m]);
        sums[m] = fmaf((float)(signed char)(words[w] >> 24), second_of(four.y), sums[m]);
      }
    }
  }
  const float scale = absmax[row] * (1.0f / 127.0f);
#pragma unroll
  for (int m = 0; m < ROWS; ++m) {
    for (int step = 16; step > 0; step /= 2) sums[m] += __shfl_down_sync(0xffffffffu, sums[m], step);
    if (lane == 0 && m < rows) ys[(long long)m * outputs + row] = (unsigned short)round_pair(sums[m] * scale, 0.0f);
  }
}

#define KERNEL(ROWS)                                                                                               \
  extern "C" __global__ void int8_matvec_##ROWS(const uint4* codes, const float* absmax, const uint2* xs,          \
                                                unsigned short* ys, int rows, int inputs, int outputs) {           \
    matvec<ROWS>(codes, absmax, xs, ys, rows, inputs, outputs);                                                    \
  }

KERNEL(1)
KERNEL(2)
KERNEL(4)
KERNEL(8)
KERNEL(16)
