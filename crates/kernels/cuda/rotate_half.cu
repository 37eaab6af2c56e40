// Rotation of two tensors of heads by their positions, rounded where tensor operations round; `turn` -1 turns back.
//
// first, second and their results: [tokens, heads, 2 * half], with as many heads as each has (0 where there is no second);
// cos, sin: [tokens, half], or [half] for all tokens (step 0 in the place of half).
#include "element.cuh"

template <int N, class T>
__device__ __forceinline__ void turned(const T* from, const T* cos, const T* sin, T* to, int half, float turn) {
  const Pack<T, N> x = load<N>(from), y = load<N>(from + half), c = load<N>(cos), s = load<N>(sin);
  Pack<T, N> left, right;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float a = widen(x.at[j]), b = widen(y.at[j]), cosine = widen(c.at[j]), sine = turn * widen(s.at[j]);
    narrow(__fadd_rn(rounded<T>(__fmul_rn(a, cosine)), -rounded<T>(__fmul_rn(b, sine))), left.at[j]);
    narrow(__fadd_rn(rounded<T>(__fmul_rn(b, cosine)), rounded<T>(__fmul_rn(a, sine))), right.at[j]);
  }
  store<N>(to, left);
  store<N>(to + half, right);
}

template <int N, class T>
__device__ __forceinline__ void turn_all(const T* first, const T* second, const T* cos, const T* sin, T* first_out,
                                         T* second_out, int first_heads, int second_heads, int half, int step,
                                         long long tokens, float turn) {
  const int packs = half / N, heads = first_heads + second_heads;
  const long long all = tokens * heads * packs;
  for (long long at = first_place(); at < all; at += all_threads()) {
    const int feature = (int)(at % packs) * N;
    const int head = (int)(at / packs % heads);
    const long long token = at / packs / heads;
    const T *c = cos + token * step + feature, *s = sin + token * step + feature;
    if (head < first_heads) {
      const long long place = (token * first_heads + head) * 2 * half + feature;
      turned<N>(first + place, c, s, first_out + place, half, turn);
    } else {
      const long long place = (token * second_heads + head - first_heads) * 2 * half + feature;
      turned<N>(second + place, c, s, second_out + place, half, turn);
    }
  }
}

#define KERNEL(KIND, T)                                                                                               \
  extern "C" __global__ void rotate_half_##KIND(const T* first, const T* second, const T* cos, const T* sin,          \
                                                T* first_out, T* second_out, int first_heads, int second_heads,       \
                                                int half, int step, long long tokens, float turn) {                   \
    if (half % WIDE<T> == 0 && is_wide(first) && is_wide(second) && is_wide(cos) && is_wide(sin) &&                   \
        is_wide(first_out) && is_wide(second_out))                                                                    \
      turn_all<WIDE<T>>(first, second, cos, sin, first_out, second_out, first_heads, second_heads, half, step, tokens, \
                        turn);                                                                                        \
    else                                                                                                              \
      turn_all<1>(first, second, cos, sin, first_out, second_out, first_heads, second_heads, half, step, tokens, turn); \
  }

KERNEL(float32, float)
KERNEL(bfloat16, BFloat16)
KERNEL(float16, Float16)
