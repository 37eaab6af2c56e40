#include "twins.h"

#include <ATen/EmptyTensor.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/DeviceGuard.h>

#include <cstring>

#include "graph.h"
#include "memory.h"

namespace fake {

using at::Tensor;

Tensor Twins::of(const Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_cuda()) return tensor;
  auto* impl = tensor.storage().unsafeGetStorageImpl();
  auto found = storages.find(impl);
  if (found == storages.end()) {
    void* address = twin(impl->data());
    c10::Storage storage(c10::Storage::use_byte_size_t(), impl->nbytes(),
                         c10::DataPtr(address, c10::Device(c10::kCPU)), c10::GetCPUAllocator(), true);
    found = storages.emplace(impl, storage).first;
    owners.emplace(storage.unsafeGetStorageImpl(), tensor);
  }
  Tensor out = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(found->second), c10::DispatchKeySet(c10::DispatchKey::CPU),
                                                        tensor.dtype());
  out.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) out.unsafeGetTensorImpl()->set_wrapped_number(true);
  if (tensor.is_conj()) out = out.conj();
  tensors.emplace(out.unsafeGetTensorImpl(), tensor);
  return out;
}

Tensor upload(const Tensor& from, c10::Device device) {
  if (!from.defined()) return from;
  const c10::DeviceGuard guard(device);
  const Tensor source = from.is_non_overlapping_and_dense() ? from : from.contiguous();
  Tensor out = at::detail::empty_strided_generic(source.sizes(), source.strides(), allocator(),
                                                 c10::DispatchKeySet(c10::DispatchKey::CUDA), source.scalar_type());
  if (source.nbytes() > 0) std::memcpy(twin(out.data_ptr()), source.data_ptr(), source.nbytes());
  if (from.unsafeGetTensorImpl()->is_wrapped_number()) out.unsafeGetTensorImpl()->set_wrapped_number(true);
  return out;
}

void keep_written(const Tensor& written) {
  if (is_recording() && written.defined()) keep(written.storage().mutable_data(), written.storage().nbytes());
}

}  // namespace fake
