// The head of a language model and its loss in one step, without keeping the logits.
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

// With e = exp(logits - max) and s = Σe: loss = log s - (logit[label] - max), dlogits = e/s - onehot(label). The onehot
// is applied to the small factors (rows of the weight, rows of hidden), so the logits are passed over as seldom as can be.
Sums cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& labels, int64_t chunk, bool want_hidden,
                   bool want_weight) {
  const int64_t rows = hidden.size(0);
  Sums sums;
  sums.loss = at::zeros({}, hidden.options().dtype(at::kFloat));
  if (want_hidden) sums.d_hidden = at::empty_like(hidden);
  if (want_weight) sums.d_weight = at::zeros_like(weight, weight.options().dtype(at::kFloat));
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
    if (!want_hidden && !want_weight) continue;
    const Tensor inverse = total.reciprocal().unsqueeze(1);  // [n, 1]
    const Tensor e = logits.to(weight.scalar_type());        // [n, V], the same tensor in fp32
    if (want_hidden) {
      Tensor d = at::matmul(e, weight).to(at::kFloat).mul_(inverse);
      d.sub_(weight.index_select(0, label).to(at::kFloat));
      sums.d_hidden.narrow(0, start, n).copy_(d);
    }
    if (want_weight) {
      const Tensor scaled = xs.to(at::kFloat).mul(inverse).to(e.scalar_type());
      sums.d_weight.add_(at::matmul(e.t(), scaled));
      sums.d_weight.index_add_(0, label, xs.to(at::kFloat), -1);
    }
  }
  return sums;
}

struct LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
  // The gradients are computed here, while the logits are at hand; the backward pass only scales them.
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& weight, const Tensor& labels,
                        int64_t chunk) {
    Sums sums = cross_entropy(hidden, weight, labels, chunk, hidden.requires_grad(), weight.requires_grad());
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
                                                  int64_t chunk) {
  TORCH_EXT_GUARD(nullptr,
                  if (at::GradMode::is_enabled() && (hidden->requires_grad() || weight->requires_grad())) {
                    return new Tensor(LinearCrossEntropy::apply(*hidden, *weight, *labels, chunk));
                  }
                  return new Tensor(cross_entropy(*hidden, *weight, *labels, chunk, false, false).loss);)
}
