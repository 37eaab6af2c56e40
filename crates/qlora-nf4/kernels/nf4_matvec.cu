// Products of a 4-bit weight with up to 16 rows of inputs, in float32 sums. A warp takes one row of the weight.
//
// xs: [rows, inputs] bfloat16; ys: [rows, outputs] bfloat16; inputs is a multiple of 32 and of the block.
#include <cuda_bf16.h>

template <int ROWS>
__device__ void matvec(const uint4* __restrict__ packed, const float* values, const void* __restrict__ scales,
                       const float* __restrict__ nested, const float* codes, bool is_nested, float offset, int block_log2,
                       const __nv_bfloat16* __restrict__ xs, __nv_bfloat16* __restrict__ ys, int inputs, int outputs) {
  const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= outputs) return;
  float sums[ROWS] = {};
  const int units = inputs / 32;
  for (int unit = lane; unit < units; unit += 32) {
    const long long at = (long long)row * units + unit, block = (at * 32) >> block_log2;
    const float scale = is_nested ? fmaf(codes[((const unsigned char*)scales)[block]], nested[block >> 8], offset)
                                  : ((const float*)scales)[block];
    const uint4 bytes = packed[at];
    const unsigned words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
    float parts[ROWS] = {};
#pragma unroll
    for (int w = 0; w < 4; ++w) {
#pragma unroll
      for (int m = 0; m < ROWS; ++m) {
        const uint4 eight = *reinterpret_cast<const uint4*>(xs + (long long)m * inputs + unit * 32 + w * 8);
        const unsigned pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
        for (int b = 0; b < 4; ++b) {
          const unsigned byte = (words[w] >> (8 * b)) & 255u;
          const float2 x = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&pairs[b]));
          parts[m] = fmaf(values[byte >> 4], x.x, fmaf(values[byte & 15u], x.y, parts[m]));
        }
      }
    }
#pragma unroll
    for (int m = 0; m < ROWS; ++m) sums[m] = fmaf(parts[m], scale, sums[m]);
  }
#pragma unroll
  for (int m = 0; m < ROWS; ++m) {
    for (int step = 16; step > 0; step /= 2) sums[m] += __shfl_down_sync(0xffffffffu, sums[m], step);
    if (lane == 0) ys[(long long)m * outputs + row] = __float2bfloat16_rn(sums[m]);
  }
}

#define KERNEL(ROWS)                                                                                                   \
  extern "C" __global__ void nf4_matvec_##ROWS(                                                                        \
      const uint4* packed, const float* table, const void* scales, const float* nested, const float* map, float offset, \
      int block_log2, const __nv_bfloat16* xs, __nv_bfloat16* ys, int inputs, int outputs) {                            \
    __shared__ float values[16];                                                                                       \
    __shared__ float codes[256];                                                                                       \
    if (threadIdx.x < 16) values[threadIdx.x] = table[threadIdx.x];                                                    \
    if (map)                                                                                                           \
      for (int i = threadIdx.x; i < 256; i += blockDim.x) codes[i] = map[i];                                           \
    __syncthreads();                                                                                                   \
    matvec<ROWS>(packed, values, scales, nested, codes, map != nullptr, offset, block_log2, xs, ys, inputs, outputs);  \
  }

KERNEL(1)
KERNEL(2)
KERNEL(4)
KERNEL(8)
KERNEL(16)
