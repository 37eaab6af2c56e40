// Activation checkpointing: run a closure without gradients, and again with them in the backward pass.
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include "guard.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
typedef Tensor* (*call_fn)(void* user, const Tensor* xs);
typedef void (*drop_fn)(void* user);

// Owned by the graph node, so it is freed with the node whether or not a backward pass ever runs.
struct Closure : torch::CustomClassHolder {
  call_fn call;
  drop_fn drop;
  void* user;
  Closure(call_fn call, drop_fn drop, void* user) : call(call), drop(drop), user(user) {}
  ~Closure() override { drop(user); }
  Tensor operator()(const Tensor& xs) const {
    std::unique_ptr<Tensor> ys(call(user, &xs));
    if (!ys) throw std::runtime_error(torch_ext::last_error());
    return *ys;
  }
};

struct Checkpoint : public torch::autograd::Function<Checkpoint> {
  // `anchor` requires a gradient, so that the node is recorded even when `xs` (the output of a frozen embedding) does
  // not; the closure's own parameters receive theirs in the re-entrant backward pass below.
  static Tensor forward(AutogradContext* ctx, const Tensor& xs, const Tensor& anchor, c10::intrusive_ptr<Closure> f) {
    ctx->save_for_backward({xs});
    ctx->saved_data["closure"] = c10::IValue::make_capsule(f);
    ctx->saved_data["needs_xs"] = xs.requires_grad();
    return (*f)(xs);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto held = ctx->saved_data["closure"].toCapsule();
    auto& f = static_cast<const Closure&>(*held);
    const bool needs_xs = ctx->saved_data["needs_xs"].toBool();
    Tensor xs = ctx->get_saved_variables()[0].detach();
    xs.requires_grad_(needs_xs);
    at::AutoGradMode with_grad(true);
    Tensor ys = f(xs);
    torch::autograd::backward({ys}, {grads[0]});
    return {needs_xs ? xs.grad() : Tensor(), Tensor(), Tensor()};
  }
};
}  // namespace

// Takes ownership of `user`.
extern "C" Tensor* torch_ext_checkpoint(const Tensor* xs, call_fn call, drop_fn drop, void* user) {
  auto f = c10::make_intrusive<Closure>(call, drop, user);
  TORCH_EXT_GUARD(nullptr,
                  if (!at::GradMode::is_enabled()) { return new Tensor((*f)(*xs)); }
                  Tensor anchor = at::empty({0}).requires_grad_(true);
                  return new Tensor(Checkpoint::apply(*xs, anchor, f));)
}
