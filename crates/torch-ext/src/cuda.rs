//! CUDA in a program that links only the CPU libraries.

use std::ffi::{OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::ExtError;
use crate::error::last_error;

unsafe extern "C" {
    fn torch_ext_load_cuda() -> c_int;
    fn torch_ext_lib_dir(out: *mut c_char, size: usize) -> usize;
    fn torch_ext_cuda_stream(device: c_int, stream: *mut *mut c_void) -> c_int;
    fn torch_ext_cuda_memory(device: c_int, current: *mut i64, peak: *mut i64) -> c_int;
    fn torch_ext_cuda_reset_peak(device: c_int) -> c_int;
}

/// Memory of one CUDA device that tensors of this process hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaMemory {
    /// Bytes held now.
    pub current_bytes: u64,
    /// The most held since the start or [`reset_peak`].
    pub peak_bytes: u64,
}

/// Loads `libtorch_cuda` from beside the `libtorch_cpu` this program runs with. Call it first thing in `main`, before
/// any tensor is made; loading it again does nothing.
///
/// # Errors
/// [`ExtError::Torch`] with the dynamic linker's words when the libtorch at hand is the small CPU set.
pub fn load() -> Result<(), ExtError> {
    // SAFETY: takes nothing, changes only the process's loaded libraries.
    if unsafe { torch_ext_load_cuda() } == 1 { Ok(()) } else { Err(last_error("load_cuda")) }
}

/// Returns whether there is a CUDA device and a libtorch that can use it; loads it.
pub fn is_available() -> bool {
    load().is_ok() && tch::Cuda::is_available()
}

/// Returns the directory `torch` or `libtorch` that the libraries in use are from, where the dynamic linker tells.
pub fn torch_dir() -> Option<PathBuf> {
    let mut buffer = vec![0u8; 4096];
    // SAFETY: the buffer is as long as is said.
    let len = unsafe { torch_ext_lib_dir(buffer.as_mut_ptr().cast(), buffer.len()) };
    let lib = Path::new(OsStr::from_bytes(buffer.get(..len)?));
    std::fs::canonicalize(lib).ok()?.parent().map(Path::to_owned)
}

/// Returns the `cudaStream_t` that operations on CUDA device `index` go to now, for launches of one's own.
///
/// # Errors
/// [`ExtError::Torch`] when CUDA is not there.
pub fn stream(index: usize) -> Result<*mut c_void, ExtError> {
    let mut stream = std::ptr::null_mut();
    // SAFETY: the pointer is valid for the call.
    if unsafe { torch_ext_cuda_stream(index as c_int, &raw mut stream) } == 1 {
        Ok(stream)
    } else {
        Err(last_error("cuda_stream"))
    }
}

/// Reads what the allocator of CUDA device `index` has given out.
///
/// # Errors
/// [`ExtError::Torch`] when CUDA is not there.
pub fn memory(index: usize) -> Result<CudaMemory, ExtError> {
    let (mut current, mut peak) = (0, 0);
    // SAFETY: both pointers are valid for the call.
    if unsafe { torch_ext_cuda_memory(index as c_int, &raw mut current, &raw mut peak) } == 1 {
        Ok(CudaMemory { current_bytes: current as u64, peak_bytes: peak as u64 })
    } else {
        Err(last_error("cuda_memory"))
    }
}

/// Starts a new peak on CUDA device `index`.
///
/// # Errors
/// [`ExtError::Torch`] when CUDA is not there.
pub fn reset_peak(index: usize) -> Result<(), ExtError> {
    // SAFETY: takes a number only.
    if unsafe { torch_ext_cuda_reset_peak(index as c_int) } == 1 {
        Ok(())
    } else {
        Err(last_error("cuda_reset_peak"))
    }
}
