// Attention within texts that lie one after another, in one call.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_forward.h>
#include "guard.h"

using at::Tensor;

// What torch.nn.attention.varlen calls (PyTorch 2.11); its derivative is libtorch's.
extern "C" Tensor* torch_ext_flash_attention(const Tensor* q, const Tensor* k, const Tensor* v, const Tensor* ends,
                                             int64_t longest) {
  TORCH_EXT_GUARD(nullptr, return new Tensor(std::get<0>(at::_flash_attention_forward(
                               *q, *k, *v, *ends, *ends, longest, longest, /*dropout_p=*/0.0, /*is_causal=*/true,
                               /*return_debug_mask=*/false)));)
}
