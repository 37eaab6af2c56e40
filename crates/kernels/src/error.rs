//! Reasons why a CUDA kernel is not used.

use tch::TchError;
use torch_ext::ExtError;

/// A fault of a CUDA kernel on a device. It stays inside: tensor operations stand in for the kernel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// A library of CUDA that is opened at run time is not there, or not whole.
    #[error("the {library} cannot be used: {reason}")]
    Library {
        /// Its name.
        library: &'static str,
        /// The dynamic linker's message.
        reason: String,
    },
    /// A kernel, or its device, does not do what is asked.
    #[error("`{kernel}` does not {step}: {message}")]
    Refused {
        /// The kernel, its file or the device.
        kernel: String,
        /// The step that failed.
        step: &'static str,
        /// The compiler's or the driver's message.
        message: String,
    },
    /// It has no launch for a shape that it is checked with.
    #[error("`{kernel}` does not take the shape it is tried with")]
    Shape { kernel: &'static str },
    /// It writes where it should not.
    #[error("`{kernel}` writes behind its result")]
    Outside { kernel: &'static str },
    /// It computes something else than tensor operations do.
    #[error("`{kernel}` gives {off} wrong numbers of {of}")]
    Off { kernel: &'static str, off: i64, of: usize },
    /// libtorch gives no stream.
    #[error(transparent)]
    Stream(#[from] ExtError),
    /// Its reference could not be computed.
    #[error(transparent)]
    Torch(#[from] TchError),
}
