// silu(gate) · up and both gradients. silu is rounded to the kind before it meets `up`.
//
// All [len].
#include "element.cuh"

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <int N, class T>
__device__ __forceinline__ void gate_part(const T* gate, const T* up, T* out) {
  const Pack<T, N> g = load<N>(gate), u = load<N>(up);
  Pack<T, N> y;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float x = widen(g.at[j]);
    narrow(rounded<T>(x * sigmoid(x)) * widen(u.at[j]), y.at[j]);
  }
  store<N>(out, y);
}

// With σ = sigmoid(gate): grad · up · σ · (1 + gate · (1 - σ)) and grad · gate · σ.
template <int N, class T>
__device__ __forceinline__ void gradient_part(const T* grad, const T* gate, const T* up, T* of_gate, T* of_up) {
  const Pack<T, N> d = load<N>(grad), g = load<N>(gate), u = load<N>(up);
  Pack<T, N> first, second;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float x = widen(g.at[j]), s = sigmoid(x), incoming = widen(d.at[j]);
    narrow(incoming * widen(u.at[j]) * s * (1.0f + x * (1.0f - s)), first.at[j]);
    narrow(incoming * x * s, second.at[j]);
  }
  store<N>(of_gate, first);
  store<N>(of_up, second);
}

#define KERNEL(KIND, T)                                                                                             \
  extern "C" __global__ void swiglu_##KIND(const T* gate, const T* up, T* out, long long len) {                     \
    const bool wide = is_wide(gate) && is_wide(up) && is_wide(out);                                                 \
    const long long packs = wide ? len / WIDE<T> : 0;                                                               \
    for (long long at = first_place(); at < packs; at += all_threads()) {                                           \
      const long long place = at * WIDE<T>;                                                                         \
      gate_part<WIDE<T>>(gate + place, up + place, out + place);                                                    \
    }                                                                                                               \
    for (long long at = packs * WIDE<T> + first_place(); at < len; at += all_threads())                             \
      gate_part<1>(gate + at, up + at, out + at);                                                                   \
  }                                                                                                                 \
  extern "C" __global__ void swiglu_backward_##KIND(const T* grad, const T* gate, const T* up, T* of_gate, T* of_up, \
                                                    long long len) {                                                \
    const bool wide = is_wide(grad) && is_wide(gate) && is_wide(up) && is_wide(of_gate) && is_wide(of_up);          \
    const long long packs = wide ? len / WIDE<T> : 0;                                                               \
    for (long long at = first_place(); at < packs; at += all_threads()) {                                           \
      const long long place = at * WIDE<T>;                                                                         \
      gradient_part<WIDE<T>>(grad + place, gate + place, up + place, of_gate + place, of_up + place);               \
    }                                                                                                               \
    for (long long at = packs * WIDE<T> + first_place(); at < len; at += all_threads())                             \
      gradient_part<1>(grad + at, gate + at, up + at, of_gate + at, of_up + at);                                    \
  }

KERNEL(float32, float)
KERNEL(bfloat16, BFloat16)
KERNEL(float16, Float16)
