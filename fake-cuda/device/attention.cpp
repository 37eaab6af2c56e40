// FlashAttention over texts of several lengths, with what a GPU's takes and refuses (native/transformers/cuda/attention.cu and
// flash_attn/flash_api.cpp of PyTorch 2.11: `mha_varlen_fwd`, `mha_varlen_bwd`).
#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <cmath>
#include <limits>
#include <vector>

#include "counts.h"
#include "graph.h"
#include "memory.h"
#include "twins.h"

namespace fake {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

void check(const Tensor& xs, const Tensor& query, const char* name) {
  TORCH_CHECK(xs.device() == query.device() && xs.scalar_type() == query.scalar_type(), name, " must be like query");
  TORCH_CHECK(xs.dim() == 3 && xs.stride(-1) == 1, name, " must be [tokens, heads, features], contiguous in its last dimension");
}

void check_all(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& ends) {
  TORCH_CHECK(q.scalar_type() == at::kHalf || q.scalar_type() == at::kBFloat16,
              "FlashAttention only support fp16 and bf16 data type");
  check(q, q, "query"), check(k, q, "key"), check(v, q, "value");
  TORCH_CHECK(q.size(2) % 8 == 0 && q.size(2) <= 256, "head_size should be a multiple of 8, at most 256");
  TORCH_CHECK(q.size(1) % k.size(1) == 0, "Number of heads in key/value must divide number of heads in query");
  TORCH_CHECK(ends.scalar_type() == at::kInt && ends.is_contiguous() && ends.device() == q.device(),
              "cu_seqlens must be contiguous int32 on the device of query");
}

// Texts one after another in tensors of the CPU, in float32 with the heads first: [heads, tokens, features].
struct Texts {
  const Tensor& ends;
  int64_t longest, group;
  double scale;

  Texts(const Tensor& ends, int64_t longest, const Tensor& q, const Tensor& k, std::optional<double> scale)
      : ends(ends), longest(longest), group(q.size(1) / k.size(1)), scale(scale.value_or(1 / std::sqrt((double)q.size(2)))) {
    TORCH_CHECK(ends[-1].item<int>() == q.size(0), "texts of ", ends[-1].item<int>(), " tokens in ", q.size(0));
  }

  int64_t count() const { return ends.numel() - 1; }
  Tensor of(const Tensor& xs, int64_t text) const {
    const int64_t start = ends[text].item<int>(), len = ends[text + 1].item<int>() - start;
    TORCH_CHECK(len >= 0 && len <= longest, "a text of ", len, " tokens; the longest was said to have ", longest);
    return xs.narrow(0, start, len).to(at::kFloat).transpose(0, 1);
  }
  Tensor repeated(const Tensor& xs, int64_t text) const { return of(xs, text).repeat_interleave(group, 0); }
  // The weights of the values, [heads, tokens, tokens].
  Tensor weights(const Tensor& q, const Tensor& k, int64_t text) const {
    const Tensor scores = of(q, text).matmul(repeated(k, text).transpose(1, 2)).mul(scale);
    const Tensor later = at::ones({scores.size(1), scores.size(2)}, at::kBool).triu(1);
    return scores.masked_fill(later, -std::numeric_limits<float>::infinity()).softmax(-1);
  }
  // Gradients of repeated heads, added up.
  Tensor summed(const Tensor& xs) const {
    return xs.reshape({xs.size(0) / group, group, xs.size(1), xs.size(2)}).sum(1);
  }
};

Tensor joined(const std::vector<Tensor>& texts, const Tensor& like) {
  return upload(at::cat(texts, 1).transpose(0, 1).to(like.scalar_type()).contiguous(), like.device());
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward(
    const Tensor& q, const Tensor& k, const Tensor& v, const OptionalTensor& ends, const OptionalTensor& key_ends,
    int64_t longest, int64_t longest_keys, double dropout, bool causal, bool debug, std::optional<double> scale,
    std::optional<int64_t> left, std::optional<int64_t> right, const OptionalTensor& used, const OptionalTensor& slopes) {
  count("operation: aten::_flash_attention_forward");
  refuse_while_recording("attention over texts of several lengths");
  TORCH_CHECK(ends && key_ends && longest == longest_keys && dropout == 0 && causal && !debug && !left && !right && !used && !slopes,
              "fake-cuda: attention of another kind");
  check_all(q, k, v, *ends);
  Twins twins;
  const Tensor queries = twins.of(q), keys = twins.of(k), values = twins.of(v), places = twins.of(*ends);
  const Texts texts(places, longest, q, k, scale);
  std::vector<Tensor> outputs;
  for (int64_t i = 0; i < texts.count(); i++)
    outputs.push_back(texts.weights(queries, keys, i).matmul(texts.repeated(values, i)));
  const auto numbers = [&](at::IntArrayRef size, at::ScalarType type) {
    return upload(at::zeros(size, at::TensorOptions().dtype(type)), q.device());
  };
  return {joined(outputs, q), numbers({q.size(1), q.size(0)}, at::kFloat), numbers({2}, at::kUInt64), numbers({}, at::kUInt64),
          numbers({0}, q.scalar_type())};
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor&,
                                            const Tensor&, const Tensor& ends, const Tensor&, int64_t longest, int64_t, double,
                                            bool causal, const Tensor&, const Tensor&, std::optional<double> scale,
                                            std::optional<int64_t>, std::optional<int64_t>) {
  count("operation: aten::_flash_attention_backward");
  check_all(q, k, v, ends);
  check(grad, q, "dout");
  TORCH_CHECK(causal, "fake-cuda: attention of another kind");
  Twins twins;
  const Tensor queries = twins.of(q), keys = twins.of(k), values = twins.of(v), grads = twins.of(grad), places = twins.of(ends);
  const Texts texts(places, longest, q, k, scale);
  std::vector<Tensor> of_q, of_k, of_v;
  for (int64_t i = 0; i < texts.count(); i++) {
    const Tensor weights = texts.weights(queries, keys, i), d = texts.of(grads, i);
    const Tensor of_weights = d.matmul(texts.repeated(values, i).transpose(1, 2));
    const Tensor of_scores = weights.mul(of_weights.sub(of_weights.mul(weights).sum(-1, true))).mul(texts.scale);
    of_q.push_back(of_scores.matmul(texts.repeated(keys, i)));
    of_k.push_back(texts.summed(of_scores.transpose(1, 2).matmul(texts.of(queries, i))));
    of_v.push_back(texts.summed(weights.transpose(1, 2).matmul(d)));
  }
  return {joined(of_q, q), joined(of_k, k), joined(of_v, v)};
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("_flash_attention_forward", forward);
  m.impl("_flash_attention_backward", backward);
}

}  // namespace
}  // namespace fake
