// 4-bit codes to bfloat16. A thread takes 16 bytes, 32 numbers, which lie in one block of every size there is.
//
// Scales are float32 (`map` null), or 8-bit codes that `map` and their own scales (one for 256) stand for, plus `offset`.
// The table of 16 values is looked up in shared memory.
#include <cuda_bf16.h>

extern "C" __global__ void nf4_dequantize(const uint4* __restrict__ packed, const float* __restrict__ table,
                                          const void* __restrict__ scales, const float* __restrict__ nested,
                                          const float* __restrict__ map, float offset, int block_log2, long long units,
                                          uint4* __restrict__ out) {
  __shared__ float values[16];
  __shared__ float codes[256];
  if (threadIdx.x < 16) values[threadIdx.x] = table[threadIdx.x];
  if (map)
    for (int i = threadIdx.x; i < 256; i += blockDim.x) codes[i] = map[i];
  __syncthreads();
  for (long long unit = (long long)blockIdx.x * blockDim.x + threadIdx.x; unit < units;
       unit += (long long)gridDim.x * blockDim.x) {
    const long long block = (unit * 32) >> block_log2;
    const float scale = map ? fmaf(codes[((const unsigned char*)scales)[block]], nested[block >> 8], offset)
                            : ((const float*)scales)[block];
    const uint4 bytes = packed[unit];
    const unsigned words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      unsigned pairs[4];
#pragma unroll
      for (int b = 0; b < 4; ++b) {
        const unsigned byte = (words[w] >> (8 * b)) & 255u;
        // The upper half of a byte comes first.
        const __nv_bfloat162 pair = __floats2bfloat162_rn(values[byte >> 4] * scale, values[byte & 15u] * scale);
        pairs[b] = *reinterpret_cast<const unsigned*>(&pair);
      }
      out[unit * 4 + w] = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
  }
}
