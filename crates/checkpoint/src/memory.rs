//! Precision that fits the memory of this machine.

use kernels::multiplies_bf16;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use tch::{Device, Kind};

/// The least compute capability with bfloat16 in hardware (Ampere).
const LEAST_BFLOAT16: u32 = 80;

/// Chooses the precision of frozen weights that the user left open: bfloat16 on a GPU, float16 on one that has no units for
/// bfloat16 (before Ampere). On a CPU bfloat16 where it multiplies that faster than float32; else [`exact_kind`].
pub fn auto_kind(device: Device, num_parameters: i64) -> Kind {
    if let Device::Cuda(index) = device {
        let old = torch_ext::cuda::capability(index).is_some_and(|capability| capability < LEAST_BFLOAT16);
        return if old { Kind::Half } else { Kind::BFloat16 };
    }
    if multiplies_bf16() { Kind::BFloat16 } else { exact_kind(num_parameters) }
}

/// Says why [`auto_kind`] chose bfloat16 on a CPU.
pub(crate) fn why_bf16() -> &'static str {
    if multiplies_bf16() {
        "which this processor multiplies faster than float32"
    } else {
        "since float32 would take more than half of the free memory"
    }
}

/// Chooses float32 where the model then takes at most half of the free memory; otherwise bfloat16, which needs no copy of a
/// checkpoint in that precision.
pub fn exact_kind(num_parameters: i64) -> Kind {
    let fits = free_host_bytes().is_none_or(|free| num_parameters as u64 * 4 <= free / 2);
    if fits { Kind::Float } else { Kind::BFloat16 }
}

/// Reads how much host memory can be had without swapping, in bytes; `None` where the system does not say.
pub fn free_host_bytes() -> Option<u64> {
    let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    Some(System::new_with_specifics(ram).available_memory()).filter(|&bytes| bytes > 0)
}
