// Scales of blocks of 4-bit codes: float32 (`codes` null), or 8-bit codes whose values are `codes`, times a scale of their own
// for each 256, plus `offset`. Rounded after each operation, as the tensor operations are.
#pragma once

__device__ __forceinline__ float block_scale(const void* scales, const float* nested, const float* codes, float offset,
                                             long long block) {
  if (codes == nullptr) return ((const float*)scales)[block];
  return __fadd_rn(__fmul_rn(codes[((const unsigned char*)scales)[block]], nested[block >> 8]), offset);
}

// Brings the values of the 4-bit codes, and those of the scales' codes where there are any, to where a block looks them up.
__device__ __forceinline__ void load_tables(const Floats16& table, const float* map, float* values, float* codes) {
  if (threadIdx.x < 16) values[threadIdx.x] = table.at[threadIdx.x];
  if (map != nullptr)
    for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) codes[i] = map[i];
  __syncthreads();
}
