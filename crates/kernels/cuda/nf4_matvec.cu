// Products of a 4-bit weight with up to 16 rows of inputs, in float32 sums. A warp takes one row of the weight.
//
// packed: [outputs, inputs] in codes, the upper half of a byte first; xs: [rows, inputs], ys: [rows, outputs] bfloat16;
// inputs is a multiple of 32, and so no unit of 32 codes lies in two blocks. Scales: see blocks4.cuh.
#include "bfloat16.cuh"
#include "blocks4.cuh"

template <int ROWS>
__device__ void matvec(const uint4* __restrict__ packed, const float* values, const void* __restrict__ scales,
                       const float* __restrict__ nested, const float* codes, float offset, int block_log2,
                       const uint4* __restrict__ xs, unsigned short* __restrict__ ys, int rows, int inputs, int outputs) {
  const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= outputs) return;
  float sums[ROWS] = {};
  const int units = inputs / 32;
  for (int unit = lane; unit < units; unit += 32) {
    const long long at = (long long)row * units + unit;
    const float scale = block_scale(scales, nested, codes, offset, (at * 32) >> block_log2);
    const uint4 bytes = packed[at];
    const unsigned words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
    float parts[ROWS] = {};
#pragma unroll
    for (int w = 0; w < 4; ++w) {
#pragma unroll
      for (int m = 0; m < ROWS; ++m) {
        // Rows that are not there are read as the last one.
        const uint4 eight = xs[((long long)min(m, rows - 1) * units + unit) * 4 + w];
        const unsigned pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
        for (int b = 0; b < 4; ++b) {
          const unsigned byte = (words[w] >> (8 * b)) & 255u;
          parts[m] = fmaf(values[byte >> 4], first_of(pairs[b]),
                          fmaf(values[byte & 15u], second_of(pairs[b]), parts[m]));
        }
      }
    }
#pragma unroll
    for (int m = 0; m < ROWS; ++m) sums[m] = fmaf(parts[m], scale, sums[m]);
  }
#pragma unroll
  for (int m = 0; m < ROWS; ++m) {
    for (int step = 16; step > 0; step /= 2) sums[m] += __shfl_down_sync(0xffffffffu, sums[m], step);
    if (lane == 0 && m < rows) ys[(long long)m * outputs + row] = (unsigned short)round_pair(sums[m], 0.0f);
  }
}

#define KERNEL(ROWS)                                                                                                  \
  extern "C" __global__ void nf4_matvec_##ROWS(                                                                       \
      const uint4* packed, Floats16 table, const void* scales, const float* nested, const float* map, float offset,   \
      int block_log2, const uint4* xs, unsigned short* ys, int rows, int inputs, int outputs) {                       \
    __shared__ float values[16];                                                                                      \
    __shared__ float codes[256];                                                                                      \
    load_tables(table, map, values, codes);                                                                           \
    matvec<ROWS>(packed, values, scales, nested, map ? codes : nullptr, offset, block_log2, xs, ys, rows, inputs,     \
                 outputs);                                                                                            \
  }

KERNEL(1)
KERNEL(2)
KERNEL(4)
KERNEL(8)
KERNEL(16)
