// An operation whose two passes are closures, and closures run on libtorch's own threads.
#include <torch/csrc/autograd/custom_function.h>
#include "guard.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
// The most tensors that a forward pass gives: its results, and what is kept for the backward pass beside inputs.
constexpr int64_t ROOM = 8;

// Writes the results of `count` inputs, and behind them what else is kept; tells how many are results, 0 on failure.
typedef int64_t (*forward_fn)(void* user, const Tensor* const* inputs, int64_t count, Tensor** made);
// Writes the gradient of each of `count` inputs that is wanted; 0 on failure. `grads`: of the results. `kept`: those of the inputs
// that are at hand, then what the forward pass kept.
typedef int (*backward_fn)(void* user, const Tensor* const* grads, int64_t results, const Tensor* const* kept,
                           int64_t kept_count, const bool* wanted, int64_t count, Tensor** written);
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

  // Returns the results; what else is kept is put behind `kept`.
  variable_list run_forward(at::TensorList inputs, variable_list& kept) const {
    Tensor* made[ROOM] = {};
    const int64_t count = forward(user, pointers(inputs).data(), inputs.size(), made);
    variable_list results;
    for (int64_t i = 0; i < ROOM; i++) {
      const std::unique_ptr<Tensor> owned(made[i]);
      if (owned) (i < count ? results : kept).push_back(*owned);
    }
    if (count == 0) throw std::runtime_error(torch_ext::last_error());
    return results;
  }

  variable_list run_backward(AutogradContext* ctx, at::TensorList grads) const {
    const variable_list kept = ctx->get_saved_variables();
    const int64_t count = keeps.size();
    std::unique_ptr<bool[]> wanted(new bool[count]);
    for (int64_t i = 0; i < count; i++) wanted[i] = ctx->needs_input_grad(i);
    std::vector<Tensor*> written(count, nullptr);
    const int done = backward(user, pointers(grads).data(), grads.size(), pointers(kept).data(), kept.size(), wanted.get(),
                              count, written.data());
    variable_list given(count + 1);  // and one for the closures
    for (int64_t i = 0; i < count; i++) {
      std::unique_ptr<Tensor> owned(written[i]);
      if (owned) given[i] = *owned;
    }
    if (!done) throw std::runtime_error(torch_ext::last_error());
    return given;
  }
};

struct Custom : public torch::autograd::Function<Custom> {
  static variable_list forward(AutogradContext* ctx, at::TensorList inputs, c10::intrusive_ptr<Passes> passes) {
    ctx->saved_data["passes"] = c10::IValue::make_capsule(passes);
    variable_list kept;
    for (size_t i = 0; i < inputs.size(); i++)
      if (passes->keeps[i]) kept.push_back(inputs[i]);
    variable_list results = passes->run_forward(inputs, kept);
    ctx->save_for_backward(std::move(kept));
    return results;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto held = ctx->saved_data["passes"].toCapsule();
    at::AutoGradMode without_grad(false);
    return static_cast<const Passes&>(*held).run_backward(ctx, grads);
  }
};
}  // namespace

// Writes the results into `results`, which has room for ROOM, and tells how many there are; 0 on failure. Takes ownership of `user`.
extern "C" int64_t torch_ext_custom(const Tensor* const* inputs, const bool* keeps, int64_t count, forward_fn forward,
                                    backward_fn backward, drop_fn drop, void* user, Tensor** results) {
  auto passes = c10::make_intrusive<Passes>(forward, backward, drop, user, std::vector<bool>(keeps, keeps + count));
  TORCH_EXT_GUARD(0, std::vector<Tensor> list; for (int64_t i = 0; i < count; i++) list.push_back(*inputs[i]);
                  const variable_list made = Custom::apply(at::TensorList(list), passes);
                  for (size_t i = 0; i < made.size(); i++) results[i] = new Tensor(made[i]); return made.size();)
}
