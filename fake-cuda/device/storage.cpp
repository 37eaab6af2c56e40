// What makes, copies and resizes tensors of the make-believe device, and its views.
#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <cstring>

#include "counts.h"
#include "graph.h"
#include "memory.h"
#include "twins.h"

namespace fake {
namespace {

using at::Tensor;
using at::IntArrayRef;

// The device of a new tensor: the current one where none is named by number.
c10::Device chosen(std::optional<at::Device> device) {
  if (device.has_value() && device->has_index()) return *device;
  return c10::Device(c10::kCUDA, c10::DeviceIndex(current_device()));
}

Tensor empty(IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device> device,
             std::optional<bool> pin, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pin.value_or(false), "Only dense CPU tensors can be pinned");
  const c10::DeviceGuard guard(chosen(device));
  return at::detail::empty_generic(size, allocator(), c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                     std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(chosen(device));
  return at::detail::empty_strided_generic(size, stride, allocator(), c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           c10::dtype_or_default(dtype));
}

const char* direction(const Tensor& to, const Tensor& from) {
  return to.is_cuda() ? from.is_cuda() ? "copy: device to device" : "copy: host to device" : "copy: device to host";
}

// Counts a copy. Between host and device, one from or to pageable memory waits, and so does one that is not asked not to.
void count_copy(const Tensor& self, const Tensor& from, bool non_blocking) {
  std::string what = direction(self, from);
  if (self.is_cuda() != from.is_cuda()) {
    refuse_while_recording(what.c_str());
    const Tensor& host = self.is_cuda() ? from : self;
    const bool pinned = host.numel() > 0 && is_pinned(host.data_ptr());
    what += pinned ? ", pinned" : ", pageable";
    if (!pinned || !non_blocking) wait("copy");
  }
  count(what);
}

Tensor& copy_(Tensor& self, const Tensor& from, bool non_blocking) {
  count_copy(self, from, non_blocking);
  Twins twins;
  Tensor to = twins.of(self), source = twins.of(from);
  keep_written(to);
  const at::AutoDispatchBelowADInplaceOrView below;
  to.copy_(source);
  if (is_recording()) {
    record([to, source]() mutable {
      const at::NoGradGuard without_grad;
      to.copy_(source);
    });
  }
  return self;
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool non_blocking) {
  Tensor target = to;
  return copy_(target, self, non_blocking);
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  Tensor target = to;
  if (target.sizes() != self.sizes()) target.resize_(self.sizes());
  return copy_(target, self, false);
}

void grow(const Tensor& self, size_t bytes) {
  auto* storage = self.storage().unsafeGetStorageImpl();
  if (bytes <= storage->nbytes()) return;
  const c10::DeviceGuard guard(self.device());
  c10::DataPtr data = allocator()->allocate(bytes);
  if (storage->nbytes() > 0) std::memcpy(twin(data.get()), twin(storage->data()), storage->nbytes());
  storage->set_data_ptr_noswap(std::move(data));
  storage->set_nbytes(bytes);
}

const Tensor& resize_(const Tensor& self, IntArrayRef size, std::optional<at::MemoryFormat> format) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(size);
  if (format) impl->empty_tensor_restride(*format);
  grow(self, at::detail::computeStorageNbytes(self.sizes(), self.strides(), self.dtype().itemsize(), self.storage_offset()));
  return self;
}

Tensor& set_storage(Tensor& self, at::Storage source, int64_t offset, IntArrayRef size, IntArrayRef stride) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  if (stride.data() == nullptr) {
    impl->set_sizes_contiguous(size);
    impl->set_storage_offset(offset);
  } else {
    impl->set_sizes_and_strides(size, stride, offset);
  }
  return self;
}

Tensor& set_empty(Tensor& self) {
  at::Storage storage(c10::Storage::use_byte_size_t(), 0, allocator(), true);
  return set_storage(self, storage, 0, {0}, {});
}

Tensor view(const Tensor& self, IntArrayRef size) { return at::native::view(self, size); }

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("copy_", copy_);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("resize_", resize_);
  m.impl("set_.source_Storage_storage_offset", set_storage);
  m.impl("set_", set_empty);
  m.impl("view", view);
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("unfold", TORCH_FN(at::native::unfold));
}

}  // namespace
}  // namespace fake
