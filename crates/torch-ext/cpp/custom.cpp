// An operation whose two passes are closures, and closures run on libtorch's own threads.
#include <ATen/TensorIterator.h>
#include <torch/csrc/autograd/custom_function.h>
#include "guard.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
typedef Tensor* (*call_fn)(void* user, const Tensor* xs);
typedef void (*drop_fn)(void* user);

// Owned by the graph node, so it is freed with the node whether or not a backward pass ever runs.
struct Passes : torch::CustomClassHolder {
  call_fn forward;
  call_fn backward;
  drop_fn drop;
  void* user;
  Passes(call_fn forward, call_fn backward, drop_fn drop, void* user)
      : forward(forward), backward(backward), drop(drop), user(user) {}
  ~Passes() override { drop(user); }
  Tensor run(call_fn pass, const Tensor& xs) const {
    std::unique_ptr<Tensor> ys(pass(user, &xs));
    if (!ys) throw std::runtime_error(torch_ext::last_error());
    return *ys;
  }
};

struct Custom : public torch::autograd::Function<Custom> {
  static Tensor forward(AutogradContext* ctx, const Tensor& xs, c10::intrusive_ptr<Passes> passes) {
    ctx->saved_data["passes"] = c10::IValue::make_capsule(passes);
    return passes->run(passes->forward, xs);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto held = ctx->saved_data["passes"].toCapsule();
    auto& passes = static_cast<const Passes&>(*held);
    at::AutoGradMode without_grad(false);
    return {passes.run(passes.backward, grads[0]), Tensor()};
  }
};
}  // namespace

// Takes ownership of `user`.
extern "C" Tensor* torch_ext_custom(const Tensor* xs, call_fn forward, call_fn backward, drop_fn drop, void* user) {
  auto passes = c10::make_intrusive<Passes>(forward, backward, drop, user);
  TORCH_EXT_GUARD(nullptr, return new Tensor(Custom::apply(*xs, passes));)
}

// Calls `run(user, begin, end)` on libtorch's threads for ranges that make up `0..tasks`. The iterator over a byte for
// each task is how libtorch lets others use its pool without OpenMP in their own code.
extern "C" int torch_ext_parallel(int64_t tasks, void (*run)(void*, int64_t, int64_t), void* user) {
  TORCH_EXT_GUARD(
      0, at::AutoGradMode without_grad(false); Tensor bytes = at::empty({tasks}, at::kByte);
      char* first = static_cast<char*>(bytes.data_ptr()); auto iter = at::TensorIterator::borrowing_nullary_op(bytes);
      iter.for_each(
          [&](char** data, const int64_t*, int64_t inner, int64_t outer) {
            int64_t begin = data[0] - first;
            run(user, begin, begin + inner * outer);
          },
          1);
      return 1;)
}
