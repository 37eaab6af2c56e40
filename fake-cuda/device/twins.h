// Twins of tensors of the device: the same bytes as the CPU's own kernels take them.
#pragma once
#include <ATen/ATen.h>

#include <unordered_map>

namespace fake {

// Twins of the tensors of one call; arguments that share a storage still do.
struct Twins {
  std::unordered_map<c10::StorageImpl*, c10::Storage> storages;
  std::unordered_map<c10::StorageImpl*, at::Tensor> owners;  // by the twin's storage
  std::unordered_map<c10::TensorImpl*, at::Tensor> tensors;  // by the twin

  // The twin of a tensor of the device; any other tensor as it is.
  at::Tensor of(const at::Tensor& tensor);
};

// A tensor on the device with what a CPU's holds.
at::Tensor upload(const at::Tensor& from, c10::Device device);

// Keeps what an operation is about to overwrite, while this thread records. `written` is a twin.
void keep_written(const at::Tensor& written);

}  // namespace fake
