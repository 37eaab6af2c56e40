//! Failures on the C++ side.

use std::error::Error;
use std::ffi::{CStr, c_char};

use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn torch_ext_last_error() -> *const c_char;
    fn torch_ext_set_error(text: *const u8, len: usize);
}

/// A failure of an extension.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtError {
    /// libtorch refused.
    #[error("libtorch failed in `{op}`: {message}")]
    Torch {
        /// The extension that was called.
        op: &'static str,
        /// libtorch's message, first line only.
        message: String,
    },
    /// A tensor would look outside its owner's bytes.
    #[error("a tensor of {num_bytes} bytes at offset {offset} does not fit in {available} bytes")]
    OutOfRange {
        /// First byte of the tensor.
        offset: usize,
        /// Size of the tensor.
        num_bytes: usize,
        /// Size of the owner.
        available: usize,
    },
    /// A tensor would start at an address its elements cannot be read from.
    #[error("a tensor at byte offset {offset} is not aligned to its elements of {alignment} bytes")]
    Misaligned {
        /// First byte of the tensor.
        offset: usize,
        /// Size of one element.
        alignment: usize,
    },
    /// An element type that no file of weights holds.
    #[error("tensors of kind {kind:?} are not supported here")]
    Kind {
        /// The kind that was asked for.
        kind: tch::Kind,
    },
    /// A shape with a negative size, or too large for memory.
    #[error("shape {shape:?} is not possible")]
    Shape {
        /// The shape that was asked for.
        shape: Vec<i64>,
    },
}

/// Returns the text of the failure that the C++ side just reported.
pub(crate) fn last_error(op: &'static str) -> ExtError {
    // SAFETY: the C++ side returns a NUL-terminated string that lives until its next failure on this thread.
    let text = unsafe { CStr::from_ptr(torch_ext_last_error()) }.to_string_lossy();
    ExtError::Torch { op, message: text.lines().next().unwrap_or_default().to_owned() }
}

/// Writes an error and its causes in one line, for whatever carries text alone: the C++ side, or a reason that is kept.
pub fn with_causes(error: &dyn Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Leaves `text` for the C++ side, as the reason why a closure failed.
pub(crate) fn set_last_error(text: &str) {
    // SAFETY: the C++ side copies the bytes.
    unsafe { torch_ext_set_error(text.as_ptr(), text.len()) };
}

/// Takes ownership of a tensor made on the C++ side; null means failure.
pub(crate) fn own(op: &'static str, tensor: *mut C_tensor) -> Result<Tensor, ExtError> {
    if tensor.is_null() {
        return Err(last_error(op));
    }
    // SAFETY: the C++ side made it with `new` and gave it away.
    Ok(unsafe { Tensor::from_ptr(tensor) })
}
