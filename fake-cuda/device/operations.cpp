// Operations of the make-believe device: each is the CPU's own, on twins of the arguments.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <cstring>
#include <set>

#include "counts.h"
#include "graph.h"
#include "memory.h"
#include "twins.h"

namespace fake {
namespace {

using at::Tensor;
using c10::IValue;
using torch::jit::Stack;

// Operations that check devices themselves: those of TensorIterator, which take a CPU's scalar.
const std::set<std::string>& unchecked() {
  static const auto* all = new std::set<std::string>{
#include "unchecked.inc"
  };
  return *all;
}

// Those that bring a size or a value back to the host, and so wait for a real device.
bool waits(const std::string& name) {
  static const std::set<std::string> all{
      "aten::_local_scalar_dense", "aten::nonzero", "aten::nonzero.out", "aten::masked_select", "aten::masked_select.out",
      "aten::unique_dim", "aten::_unique2", "aten::unique_consecutive", "aten::equal", "aten::bincount",
      "aten::repeat_interleave.Tensor", "aten::is_set_to"};
  return all.count(name) != 0;
}

template <class F>
void each_tensor(IValue& value, const F& f) {
  if (value.isTensor()) {
    value = f(value.toTensor());
  } else if (value.isTensorList()) {
    c10::List<Tensor> out;
    for (const Tensor& tensor : value.toTensorVector()) out.push_back(f(tensor));
    value = std::move(out);
  } else if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> out;
    for (const std::optional<Tensor>& tensor : value.toOptionalTensorVector())
      out.push_back(tensor.has_value() ? std::optional<Tensor>(f(*tensor)) : std::nullopt);
    value = std::move(out);
  }
}

// Throws what a real device throws for a mixture of devices.
void check_devices(const std::string& name, const Tensor& tensor, c10::Device device, bool lenient) {
  if (!tensor.defined() || tensor.device() == device) return;
  const bool index = name.rfind("aten::index", 0) == 0 || name.rfind("aten::_index_put_impl_", 0) == 0;
  if (lenient && tensor.is_cpu() && (tensor.dim() == 0 || (index && name.find("index_fill") == std::string::npos))) return;
  TORCH_CHECK(false, "Expected all tensors to be on the same device, but found at least two devices, ", device, " and ",
              tensor.device(), "! (", name, ")");
}

void fallback(const c10::OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const std::string name = schema.operator_name().name +
                           (schema.operator_name().overload_name.empty() ? "" : "." + schema.operator_name().overload_name);
  count("operation: " + name);
  if (waits(name)) wait(name.c_str());
  const size_t inputs = schema.arguments().size(), base = stack->size() - inputs;

  std::optional<c10::Device> device;
  for (size_t i = 0; i < inputs; ++i) {
    IValue& value = (*stack)[base + i];
    each_tensor(value, [&](const Tensor& tensor) {
      if (!device && tensor.defined() && tensor.is_cuda()) device = tensor.device();
      return tensor;
    });
    if (value.isDevice() && value.toDevice().is_cuda()) {
      if (!device) device = value.toDevice();
    }
  }
  if (!device) device = c10::Device(c10::kCUDA, c10::DeviceIndex(current_device()));
  if (!device->has_index()) device = c10::Device(c10::kCUDA, c10::DeviceIndex(current_device()));
  const c10::DeviceGuard guard(*device);
  const at::AutoDispatchBelowADInplaceOrView below;

  Twins twins;
  const bool lenient = unchecked().count(name) != 0;
  std::vector<Tensor> written;
  std::vector<void*> addresses;
  for (size_t i = 0; i < inputs; ++i) {
    IValue& value = (*stack)[base + i];
    if (value.isDevice()) value = c10::Device(c10::kCPU);
    const auto* alias = schema.arguments()[i].alias_info();
    each_tensor(value, [&](const Tensor& tensor) {
      check_devices(name, tensor, *device, lenient);
      if (tensor.defined() && tensor.is_cuda() && i > 0 && name == "aten::index.Tensor" &&
          (tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte))
        wait("index with a mask");
      Tensor out = twins.of(tensor);
      if (alias != nullptr && alias->isWrite() && out.defined() && tensor.is_cuda()) {
        keep_written(out);
        written.push_back(out);
        addresses.push_back(out.storage().mutable_data());
      }
      return out;
    });
  }

  Stack again;
  if (is_recording()) again.assign(stack->begin() + base, stack->end());
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);

  for (size_t i = 0; i < written.size(); ++i) {
    const Tensor& out = written[i];
    Tensor& own = twins.tensors.at(out.unsafeGetTensorImpl());
    if (out.storage().mutable_data() != addresses[i]) {
      own.storage().set_data_ptr_noswap(allocator()->allocate(out.storage().nbytes()));
      own.storage().set_nbytes(out.storage().nbytes());
      if (out.storage().nbytes() > 0)
        std::memcpy(twin(own.storage().mutable_data()), out.storage().data(), out.storage().nbytes());
    }
    if (out.sizes() != own.sizes() || out.strides() != own.strides())
      own.unsafeGetTensorImpl()->set_sizes_and_strides(out.sizes(), out.strides(), out.storage_offset());
    // A replay writes to where the resized one lies.
    if (is_recording() && out.storage().mutable_data() != addresses[i]) {
      for (IValue& value : again)
        if (value.isTensor() && value.toTensor().is_same(out)) value = Twins().of(own);
    }
  }

  std::vector<std::pair<size_t, Tensor>> fresh;  // where a call's results go
  const size_t outputs = schema.returns().size(), first = stack->size() - outputs;
  for (size_t i = 0; i < outputs; ++i) {
    each_tensor((*stack)[first + i], [&](const Tensor& result) -> Tensor {
      if (!result.defined() || !result.is_cpu()) return result;
      if (auto own = twins.tensors.find(result.unsafeGetTensorImpl()); own != twins.tensors.end()) return own->second;
      if (auto owner = twins.owners.find(result.storage().unsafeGetStorageImpl()); owner != twins.owners.end()) {
        Tensor view = at::detail::make_tensor<c10::TensorImpl>(
            c10::TensorImpl::VIEW, c10::Storage(owner->second.storage()), owner->second.key_set(), result.dtype());
        view.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides(), result.storage_offset());
        return view;
      }
      Tensor out = upload(result, *device);
      if (is_recording()) fresh.emplace_back(i, Twins().of(out));
      return out;
    });
  }
  if (is_recording()) {
    record([op, again, fresh, outputs] {
      Stack stack = again;
      const at::AutoDispatchBelowADInplaceOrView below;
      const at::NoGradGuard without_grad;
      op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
      for (const auto& [i, to] : fresh) {
        const IValue& result = stack[stack.size() - outputs + i];
        TORCH_CHECK(result.isTensor(), "fake-cuda: lists of results are not recorded");
        Tensor target = to;
        target.copy_(result.toTensor());
      }
    });
  }
}

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

}  // namespace
}  // namespace fake
