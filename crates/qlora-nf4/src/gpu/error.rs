//! Why a kernel is not used.

use nn_core::TorchFailure;
use torch_ext::ExtError;

use crate::QuantError;

/// What is wrong with a kernel on a device.
#[derive(Debug, thiserror::Error)]
pub(super) enum KernelError {
    /// It cannot be compiled, loaded or launched.
    #[error(transparent)]
    Launch(#[from] ExtError),
    /// It has no launch for a shape that it is tried with.
    #[error("`{kernel}` does not take the shape it is tried with")]
    Shape { kernel: &'static str },
    /// It writes where it should not.
    #[error("`{kernel}` writes behind its result")]
    Outside { kernel: &'static str },
    /// It computes something else than tensor operations do.
    #[error("`{kernel}` gives {off} wrong numbers of {of}")]
    Off { kernel: &'static str, off: i64, of: usize },
    /// What it is compared with could not be computed.
    #[error(transparent)]
    Twin(#[from] QuantError),
    /// As above.
    #[error(transparent)]
    Torch(#[from] TorchFailure),
}
