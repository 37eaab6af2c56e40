// A random number generator that belongs to its owner, so that the process's default generators are left alone.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include "guard.h"

using at::Generator;
using at::Tensor;

namespace {

Generator make(int device, uint64_t seed) {
  if (device < 0) return at::detail::createCPUGenerator(seed);
  // The hooks are in libtorch_cpu; what they reach is in libtorch_cuda where that is loaded.
  at::Context& context = at::globalContext();
  context.lazyInitDevice(at::kCUDA);
  const auto& hooks = context.getAcceleratorHooksInterface(at::kCUDA);
  Generator made = hooks.getNewGenerator(static_cast<c10::DeviceIndex>(device));
  made.set_current_seed(seed);
  return made;
}

// `at::dropout` takes no generator. On a CPU this is what it is made of there, bit for bit; elsewhere the mask is kept in
// bytes, as the fused kernel of a GPU keeps it.
Tensor dropout(const Generator& generator, const Tensor& xs, double p) {
  if (p == 0 || xs.numel() == 0) return xs;
  if (p == 1) return xs.mul(at::zeros({}, xs.options()));
  if (xs.is_cpu()) return xs.mul(at::empty_like(xs).bernoulli_(1 - p, generator).div_(1 - p));
  const Tensor mask = at::empty_like(xs, xs.options().dtype(at::kBool)).bernoulli_(1 - p, generator);
  return xs.mul(mask).mul_(1 / (1 - p));
}

}  // namespace

// `device` is -1 for the CPU, else the index of a CUDA device. Null on failure.
extern "C" Generator* torch_ext_generator_new(int device, uint64_t seed) {
  TORCH_EXT_GUARD(nullptr, return new Generator(make(device, seed));)
}

extern "C" void torch_ext_generator_free(Generator* generator) { delete generator; }

extern "C" int torch_ext_generator_uniform(const Generator* generator, Tensor* xs, double from, double to) {
  TORCH_EXT_GUARD(0, xs->uniform_(from, to, *generator); return 1;)
}

extern "C" int torch_ext_generator_normal(const Generator* generator, Tensor* xs, double mean, double std) {
  TORCH_EXT_GUARD(0, xs->normal_(mean, std, *generator); return 1;)
}

extern "C" Tensor* torch_ext_generator_dropout(const Generator* generator, const Tensor* xs, double p) {
  TORCH_EXT_GUARD(nullptr, return new Tensor(dropout(*generator, *xs, p));)
}
