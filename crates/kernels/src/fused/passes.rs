//! Which implementation a fused operation gets.

use tch::{Device, Kind, Tensor};

use crate::gpu::Pass;

/// An implementation of both passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    /// Loops of ours, on a CPU.
    Loops,
    /// Kernels of ours, on a CUDA device.
    Kernels,
    /// libtorch's operations.
    Operations,
}

impl Passes {
    /// Returns the implementation for `tensors`: loops or kernels where all are in one piece each, on one device, of one
    /// floating-point kind; kernels where the device has all of `kernels`.
    pub(super) fn of(tensors: &[&Tensor], kernels: &[Pass]) -> Self {
        let (kind, device) = (tensors[0].kind(), tensors[0].device());
        let alike = |xs: &&Tensor| xs.device() == device && xs.kind() == kind && xs.is_contiguous();
        let is_known = matches!(kind, Kind::Float | Kind::BFloat16 | Kind::Half);
        match device {
            _ if !is_known || !tensors.iter().all(alike) => Self::Operations,
            Device::Cpu => Self::Loops,
            Device::Cuda(index) if kernels.iter().all(|pass| pass.is_usable(index, kind)) => Self::Kernels,
            _ => Self::Operations,
        }
    }
}

/// Checks that all of `tensors` are for loops of ours.
pub(super) fn plain(tensors: &[&Tensor]) -> bool {
    Passes::of(tensors, &[]) == Passes::Loops
}
