// Numbers of the three floating-point kinds, which are computed with in float32, and sums of a block of threads. Like
// bfloat16.cuh it needs no header of CUDA; and no more than compute capability 7.0.
#pragma once

struct BFloat16 {
  unsigned short bits;
};
struct Float16 {
  unsigned short bits;
};

// As many numbers as one access to memory takes.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};
template <class T>
constexpr int WIDE = 16 / sizeof(T);

__device__ __forceinline__ bool is_wide(const void* address) { return (unsigned long long)address % 16 == 0; }

template <int N, class T>
__device__ __forceinline__ Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <int N, class T>
__device__ __forceinline__ void store(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

__device__ __forceinline__ float widen(float x) { return x; }

__device__ __forceinline__ float widen(BFloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }

__device__ __forceinline__ float widen(Float16 x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#else
  const unsigned sign = (unsigned)(x.bits & 0x8000u) << 16, exponent = (x.bits >> 10) & 31u, mantissa = x.bits & 1023u;
  if (exponent == 0) return __uint_as_float(sign | __float_as_uint((float)mantissa * 0x1p-24f));
  return __uint_as_float(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112u) << 23) | mantissa << 13);
#endif
}

// To nearest even.
__device__ __forceinline__ void narrow(float x, float& to) { to = x; }

__device__ __forceinline__ void narrow(float x, BFloat16& to) {
  const unsigned bits = __float_as_uint(x);
  to.bits = (unsigned short)(isnan(x) ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ __forceinline__ void narrow(float x, Float16& to) {
#ifdef __CUDA_ARCH__
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
#else
  unsigned bits = __float_as_uint(x);
  const unsigned sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  unsigned half;
  if (bits > 0x7f800000u) half = 0x7fffu;
  else if (bits >= 0x477ff000u) half = 0x7c00u;  // 65520 and more
  else if (bits < 0x38800000u) half = __float_as_uint(__uint_as_float(bits) + 0.5f) - 0x3f000000u;  // below the least normal
  else half = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
  to.bits = (unsigned short)(sign | half);
#endif
}

// What is left of a number in its kind.
template <class T>
__device__ __forceinline__ float rounded(float x) {
  T narrow_one;
  narrow(x, narrow_one);
  return widen(narrow_one);
}

// Adds up a number of every thread of a block, for all of them. `shared` has room for 32, and may be in use until now.
__device__ __forceinline__ float block_sum(float x, float* shared) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int warp = 0; warp < (int)blockDim.x / 32; ++warp) sum += shared[warp];
  return sum;
}

// The place of a thread among all of a launch, and their number.
__device__ __forceinline__ long long first_place() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ long long all_threads() { return (long long)gridDim.x * blockDim.x; }
