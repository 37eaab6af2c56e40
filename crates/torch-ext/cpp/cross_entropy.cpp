// The head of a language model and its loss in one step, without keeping the logits.
#include <algorithm>
#include <limits>
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include "guard.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
struct Sums {
  Tensor loss;      // scalar, fp32
  Tensor d_hidden;  // [N, C], undefined when not wanted
  Tensor d_weight;  // [V, C], undefined when not wanted
};

// The head trains. With e = exp(logits - max) and s = Σe: loss = log s - (logit[label] - max), dlogits = e/s - onehot(label).
// The onehot is applied to the small factors (rows of the weight, rows of hidden), so the logits are passed over as seldom
// as can be.
Sums by_rows(const Tensor& hidden, const Tensor& weight, const Tensor& labels, bool want_hidden, int64_t logits_at_once) {
  const int64_t rows = hidden.size(0);
  const int64_t chunk = std::clamp<int64_t>(logits_at_once / std::max<int64_t>(weight.size(0), 1), 32, 4096);
  Sums sums;
  sums.loss = at::zeros({}, hidden.options().dtype(at::kFloat));
  if (want_hidden) sums.d_hidden = at::empty_like(hidden);
  sums.d_weight = at::zeros_like(weight, weight.options().dtype(at::kFloat));
  for (int64_t start = 0; start < rows; start += chunk) {
    const int64_t n = std::min(chunk, rows - start);
    const Tensor xs = hidden.narrow(0, start, n);                        // [n, C]
    const Tensor label = labels.narrow(0, start, n);                     // [n]
    Tensor logits = at::linear(xs, weight).to(at::kFloat);               // [n, V]
    logits.sub_(logits.amax(-1, true));
    const Tensor hit = logits.gather(1, label.unsqueeze(1)).squeeze(1);  // [n]
    logits.exp_();
    const Tensor total = logits.sum(-1);  // [n]
    sums.loss.add_(total.log().sub_(hit).sum());
    const Tensor inverse = total.reciprocal().unsqueeze(1);  // [n, 1]
    const Tensor e = logits.to(weight.scalar_type());        // [n, V], the same tensor in fp32
    if (want_hidden) {
      Tensor d = at::matmul(e, weight).to(at::kFloat).mul_(inverse);
      d.sub_(weight.index_select(0, label).to(at::kFloat));
      sums.d_hidden.narrow(0, start, n).copy_(d);
    }
    const Tensor scaled = xs.to(at::kFloat).mul(inverse).to(e.scalar_type());
    sums.d_weight.add_(at::matmul(e.t(), scaled));
    sums.d_weight.index_add_(0, label, xs.to(at::kFloat), -1);
  }
  return sums;
}

// The head is frozen, or nothing trains. Blocks of the vocabulary pass by while a row keeps its maximum, its Σe and its
// gradient, which shrink when the maximum grows (Milakov and Gimelshein, arXiv 1805.02867). Many rows and few columns are
// what matrix products are fastest at, and a block of logits is used while it is in the cache.
Sums by_columns(const Tensor& hidden, const Tensor& weight, const Tensor& labels, bool want_hidden, int64_t logits_at_once) {
  const int64_t rows = hidden.size(0), vocab = weight.size(0), chunk = 1024;
  const auto fp32 = hidden.options().dtype(at::kFloat).requires_grad(false);
  Sums sums;
  sums.loss = at::zeros({}, fp32);
  if (want_hidden) sums.d_hidden = at::empty_like(hidden);
  for (int64_t start = 0; start < rows; start += chunk) {
    const int64_t n = std::min(chunk, rows - start);
    const int64_t block = std::max<int64_t>(logits_at_once / n, 32);
    const Tensor xs = hidden.narrow(0, start, n);     // [n, C]
    const Tensor label = labels.narrow(0, start, n);  // [n]
    Tensor max = at::full({n, 1}, -std::numeric_limits<float>::infinity(), fp32);
    Tensor total = at::zeros({n, 1}, fp32), hit = at::zeros({n, 1}, fp32);
    Tensor d = want_hidden ? at::zeros({n, hidden.size(1)}, fp32) : Tensor();
    for (int64_t first = 0; first < vocab; first += block) {
      const int64_t columns = std::min(block, vocab - first);
      const Tensor w = weight.narrow(0, first, columns);      // [columns, C]
      Tensor logits = at::linear(xs, w).to(at::kFloat);       // [n, columns]
      const Tensor column = label.sub(first).unsqueeze(1);    // [n, 1], outside 0..columns where another block has it
      const Tensor here = column.ge(0).logical_and_(column.lt(columns));
      hit = at::where(here, logits.gather(1, column.clamp(0, columns - 1)), hit);
      const Tensor larger = at::maximum(max, logits.amax(-1, true));
      const Tensor shrink = max.sub_(larger).exp_();
      logits.sub_(larger).exp_();
      total.mul_(shrink).add_(logits.sum(-1, true));
      if (want_hidden) {
        d.mul_(shrink);
        if (w.scalar_type() == at::kFloat) d.addmm_(logits, w);
        else d.add_(at::matmul(logits.to(w.scalar_type()), w));
      }
      max = larger;
    }
    sums.loss.add_(total.log().add_(max).sub_(hit).sum());
    if (want_hidden) {
      d.div_(total).sub_(weight.index_select(0, label).to(at::kFloat));
      sums.d_hidden.narrow(0, start, n).copy_(d);
    }
  }
  return sums;
}

struct LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
  // The gradients are computed here, while the logits are at hand; the backward pass only scales them.
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& weight, const Tensor& labels,
                        int64_t logits_at_once) {
    const auto pass = weight.requires_grad() ? by_rows : by_columns;
    Sums sums = pass(hidden, weight, labels, hidden.requires_grad(), logits_at_once);
    ctx->save_for_backward({sums.d_hidden, sums.d_weight});
    return sums.loss;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    auto scaled = [&](const Tensor& d) { return d.defined() ? d.mul(grads[0].to(d.scalar_type())) : Tensor(); };
    return {scaled(saved[0]), scaled(saved[1]), Tensor(), Tensor()};
  }
};
}  // namespace

extern "C" Tensor* torch_ext_linear_cross_entropy(const Tensor* hidden, const Tensor* weight, const Tensor* labels,
                                                  int64_t logits_at_once) {
  TORCH_EXT_GUARD(nullptr,
                  if (at::GradMode::is_enabled() && (hidden->requires_grad() || weight->requires_grad())) {
                    return new Tensor(LinearCrossEntropy::apply(*hidden, *weight, *labels, logits_at_once));
                  }
                  return new Tensor(by_columns(*hidden, *weight, *labels, false, logits_at_once).loss);)
}
