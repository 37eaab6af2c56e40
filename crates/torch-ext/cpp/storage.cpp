// Tensors over memory that Rust owns.
#include <ATen/ops/from_blob.h>
#include "guard.h"

namespace torch_ext {
std::string& last_error() {
  static thread_local std::string text;
  return text;
}
}  // namespace torch_ext

extern "C" const char* torch_ext_last_error() { return torch_ext::last_error().c_str(); }

// `release(owner)` runs once, when the last tensor that looks at `data` is gone; also when this fails.
extern "C" at::Tensor* torch_ext_tensor_over(void* data, const int64_t* sizes, int64_t dims, int8_t scalar_type,
                                             void* owner, void (*release)(void*)) {
  std::shared_ptr<void> held(owner, release);
  TORCH_EXT_GUARD(
      nullptr, auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(scalar_type));
      return new at::Tensor(at::from_blob(
          data, at::IntArrayRef(sizes, static_cast<size_t>(dims)), [held](void*) mutable { held.reset(); }, options));)
}

extern "C" void torch_ext_set_error(const char* text, size_t len) { torch_ext::last_error().assign(text, len); }
