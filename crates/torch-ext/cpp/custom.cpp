// An operation whose two passes are closures, and closures run on libtorch's own threads.
#include <torch/csrc/autograd/custom_function.h>
#include "guard.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
// Maps `count` inputs to the result, null on failure.
typedef Tensor* (*forward_fn)(void* user, const Tensor* const* inputs, int64_t count);
// Writes the gradient of each of `count` inputs that is wanted; 0 on failure. `kept` of the inputs are at hand.
typedef int (*backward_fn)(void* user, const Tensor* grad, const Tensor* const* inputs, int64_t kept,
                           const bool* wanted, int64_t count, Tensor** grads);
typedef void (*drop_fn)(void* user);

std::vector<const Tensor*> pointers(at::TensorList tensors) {
  std::vector<const Tensor*> pointers;
  for (const Tensor& tensor : tensors) pointers.push_back(&tensor);
  return pointers;
}

// Owned by the graph node, so it is freed with the node whether or not a backward pass ever runs.
struct Passes : torch::CustomClassHolder {
  forward_fn forward;
  backward_fn backward;
  drop_fn drop;
  void* user;
  std::vector<bool> keeps;  // for each input
  Passes(forward_fn forward, backward_fn backward, drop_fn drop, void* user, std::vector<bool> keeps)
      : forward(forward), backward(backward), drop(drop), user(user), keeps(std::move(keeps)) {}
  ~Passes() override { drop(user); }

  Tensor run_forward(at::TensorList inputs) const {
    std::unique_ptr<Tensor> ys(forward(user, pointers(inputs).data(), inputs.size()));
    if (!ys) throw std::runtime_error(torch_ext::last_error());
    return *ys;
  }

  variable_list run_backward(AutogradContext* ctx, const Tensor& grad) const {
    const variable_list inputs = ctx->get_saved_variables();
    const int64_t count = keeps.size();
    std::unique_ptr<bool[]> wanted(new bool[count]);
    for (int64_t i = 0; i < count; i++) wanted[i] = ctx->needs_input_grad(i);
    std::vector<Tensor*> written(count, nullptr);
    const int done = backward(user, &grad, pointers(inputs).data(), inputs.size(), wanted.get(), count,
                              written.data());
    variable_list grads(count + 1);  // and one for the closures
    for (int64_t i = 0; i < count; i++) {
      std::unique_ptr<Tensor> owned(written[i]);
      if (owned) grads[i] = *owned;
    }
    if (!done) throw std::runtime_error(torch_ext::last_error());
    return grads;
  }
};

struct Custom : public torch::autograd::Function<Custom> {
  static Tensor forward(AutogradContext* ctx, at::TensorList inputs, c10::intrusive_ptr<Passes> passes) {
    ctx->saved_data["passes"] = c10::IValue::make_capsule(passes);
    variable_list kept;
    for (size_t i = 0; i < inputs.size(); i++)
      if (passes->keeps[i]) kept.push_back(inputs[i]);
    ctx->save_for_backward(std::move(kept));
    return passes->run_forward(inputs);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto held = ctx->saved_data["passes"].toCapsule();
    at::AutoGradMode without_grad(false);
    return static_cast<const Passes&>(*held).run_backward(ctx, grads[0]);
  }
};
}  // namespace

// Takes ownership of `user`.
extern "C" Tensor* torch_ext_custom(const Tensor* const* inputs, const bool* keeps, int64_t count, forward_fn forward,
                                    backward_fn backward, drop_fn drop, void* user) {
  auto passes = c10::make_intrusive<Passes>(forward, backward, drop, user, std::vector<bool>(keeps, keeps + count));
  TORCH_EXT_GUARD(nullptr, std::vector<Tensor> list; for (int64_t i = 0; i < count; i++) list.push_back(*inputs[i]);
                  return new Tensor(Custom::apply(at::TensorList(list), passes));)
}
