// 4-bit codes to bfloat16. A thread takes 4 bytes, 8 numbers, so that a warp reads and writes whole lines; the 8 lie in one
// block of every size there is.
//
// packed: [words] of 8 codes, the upper half of a byte first; out: [words * 8] bfloat16. Scales: see blocks4.cuh.
#include "bfloat16.cuh"
#include "blocks4.cuh"

extern "C" __global__ void nf4_dequantize(const unsigned* __restrict__ packed, Floats16 table,
                                          const void* __restrict__ scales, const float* __restrict__ nested,
                                          const float* __restrict__ map, float offset, int block_log2, long long words,
                                          uint4* __restrict__ out) {
  __shared__ float values[16];
  __shared__ float codes[256];
  load_tables(table, map, values, codes);
  const long long step = (long long)gridDim.x * blockDim.x;
  for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < words; at += step) {
    const float scale = block_scale(scales, nested, map ? codes : nullptr, offset, (at * 8) >> block_log2);
    const unsigned word = packed[at];
    unsigned pairs[4];
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      const unsigned byte = (word >> (8 * b)) & 255u;
      pairs[b] = round_pair(values[byte >> 4] * scale, values[byte & 15u] * scale);
    }
    out[at] = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }
}
