// RMSNorm of rows and its gradient, sums in float32; a block takes one row. The norm is rounded to the kind before it meets the
// weight.
//
// xs, grad, out: [rows, width]; weight: [width]; one block for each row.
#include "element.cuh"

template <int N, class T>
__device__ __forceinline__ void normed_row(const T* __restrict__ row, const T* __restrict__ weight, T* __restrict__ out,
                                           int width, float eps, float* shared) {
  float sum = 0.0f;
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    const Pack<T, N> x = load<N>(row + i);
#pragma unroll
    for (int j = 0; j < N; ++j) sum = fmaf(widen(x.at[j]), widen(x.at[j]), sum);
  }
  const float scale = 1.0f / sqrtf(block_sum(sum, shared) / width + eps);
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    const Pack<T, N> x = load<N>(row + i), w = load<N>(weight + i);
    Pack<T, N> y;
#pragma unroll
    for (int j = 0; j < N; ++j) narrow(rounded<T>(widen(x.at[j]) * scale) * widen(w.at[j]), y.at[j]);
    store<N>(out + i, y);
  }
}

// With g = grad · weight and s = 1 / sqrt(mean(x²) + eps): s · (g - x · s² · mean(g · x)).
template <int N, class T>
__device__ __forceinline__ void gradient_row(const T* __restrict__ grad, const T* __restrict__ row,
                                             const T* __restrict__ weight, T* __restrict__ out, int width, float eps,
                                             float* shared) {
  float squares = 0.0f, products = 0.0f;
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    const Pack<T, N> g = load<N>(grad + i), x = load<N>(row + i), w = load<N>(weight + i);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      squares = fmaf(widen(x.at[j]), widen(x.at[j]), squares);
      products = fmaf(widen(g.at[j]) * widen(w.at[j]), widen(x.at[j]), products);
    }
  }
  const float scale = 1.0f / sqrtf(block_sum(squares, shared) / width + eps);
  const float along = scale * scale * block_sum(products, shared) / width;
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    const Pack<T, N> g = load<N>(grad + i), x = load<N>(row + i), w = load<N>(weight + i);
    Pack<T, N> y;
#pragma unroll
    for (int j = 0; j < N; ++j) narrow(scale * (widen(g.at[j]) * widen(w.at[j]) - widen(x.at[j]) * along), y.at[j]);
    store<N>(out + i, y);
  }
}

#define KERNEL(KIND, T)                                                                                              \
  extern "C" __global__ void rms_norm_##KIND(const T* xs, const T* weight, T* out, int width, float eps) {           \
    __shared__ float shared[32];                                                                                     \
    const long long row = (long long)blockIdx.x * width;                                                             \
    if (width % WIDE<T> == 0 && is_wide(xs) && is_wide(weight) && is_wide(out))                                      \
      normed_row<WIDE<T>>(xs + row, weight, out + row, width, eps, shared);                                          \
    else                                                                                                             \
      normed_row<1>(xs + row, weight, out + row, width, eps, shared);                                                \
  }                                                                                                                  \
  extern "C" __global__ void rms_norm_backward_##KIND(const T* grad, const T* xs, const T* weight, T* out, int width, \
                                                      float eps) {                                                   \
    __shared__ float shared[32];                                                                                     \
    const long long row = (long long)blockIdx.x * width;                                                             \
    if (width % WIDE<T> == 0 && is_wide(grad) && is_wide(xs) && is_wide(weight) && is_wide(out))                     \
      gradient_row<WIDE<T>>(grad + row, xs + row, weight, out + row, width, eps, shared);                            \
    else                                                                                                             \
      gradient_row<1>(grad + row, xs + row, weight, out + row, width, eps, shared);                                  \
  }

KERNEL(float32, float)
KERNEL(bfloat16, BFloat16)
KERNEL(float16, Float16)
