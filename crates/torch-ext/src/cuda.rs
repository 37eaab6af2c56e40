//! CUDA in a program that links only the CPU libraries.

use std::ffi::{OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tch::kind::Element;
use tch::{Device, TchError, Tensor};
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::{last_error, own};

unsafe extern "C" {
    fn torch_ext_load_cuda() -> c_int;
    fn torch_ext_cudnn_attention() -> c_int;
    fn torch_ext_cuda_capability(device: c_int) -> c_int;
    fn torch_ext_cuda_upload(xs: *const C_tensor, device: c_int) -> *mut C_tensor;
    fn torch_ext_cuda_pinned(xs: *const C_tensor) -> *mut C_tensor;
    fn torch_ext_cuda_copy(to: *mut C_tensor, from: *const C_tensor) -> c_int;
    fn torch_ext_lib_dir(out: *mut c_char, size: usize) -> usize;
    fn torch_ext_cuda_stream(device: c_int, stream: *mut *mut c_void) -> c_int;
    fn torch_ext_cuda_set_device(device: c_int) -> c_int;
    fn torch_ext_cuda_is_idle(device: c_int) -> c_int;
    fn torch_ext_cuda_memory(device: c_int, current: *mut i64, peak: *mut i64) -> c_int;
    fn torch_ext_cuda_reset_peak(device: c_int) -> c_int;
    fn torch_ext_cuda_free_bytes(device: c_int) -> i64;
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
/// Attention then goes without cuDNN, which makes a plan for each new shape of its inputs; `CUDNN_ATTENTION=1` in the
/// environment lets PyTorch choose it, for shapes that repeat.
///
/// # Errors
/// [`ExtError::Torch`] with the dynamic linker's words when the libtorch at hand is the small CPU set, and when libtorch was asked
/// for CUDA before, by a seed too: its first answer stands.
pub fn load() -> Result<(), ExtError> {
    // SAFETY: takes nothing, changes only the process's loaded libraries.
    if unsafe { torch_ext_load_cuda() } == 1 { Ok(()) } else { Err(last_error("load_cuda")) }
}

/// Loads CUDA where a constructor calls it; see [`load_cuda_first!`](crate::load_cuda_first).
#[doc(hidden)]
pub extern "C" fn load_first() {
    // Most machines have none; who needs it asks again.
    let _ = load();
}

/// Returns whether there is a CUDA device and a libtorch that can use it; loads it.
pub fn is_available() -> bool {
    device_count().is_ok_and(|count| count > 0)
}

/// Counts the CUDA devices that can be used; loads CUDA.
///
/// # Errors
/// Those of [`load`].
#[expect(clippy::disallowed_methods, reason = "asked after CUDA is loaded")]
pub fn device_count() -> Result<usize, ExtError> {
    load()?;
    Ok(usize::try_from(tch::Cuda::device_count()).unwrap_or(0))
}

/// Returns the compute capability of CUDA device `index`, 90 for 9.0; `None` where the driver does not say.
pub fn capability(index: usize) -> Option<u32> {
    // SAFETY: takes a number.
    u32::try_from(unsafe { torch_ext_cuda_capability(index as c_int) }).ok()
}

/// Makes a tensor of `values` on `device`, `[n]`. The host does not wait for a GPU: the numbers go there through pinned memory, in
/// order with the work that was put into its stream before.
///
/// # Errors
/// [`TchError`] when there is no memory for it.
pub fn upload<T: Element>(values: &[T], device: Device) -> Result<Tensor, TchError> {
    let host = Tensor::f_from_slice(values)?;
    let Device::Cuda(index) = device else { return Ok(host) };
    // SAFETY: the tensor is alive for the call.
    let tensor = own("upload", unsafe { torch_ext_cuda_upload(host.as_ptr(), index as c_int) });
    tensor.map_err(|error| TchError::Torch(error.to_string()))
}

/// Copies a tensor into pinned memory of the host, which a GPU reads and writes by itself.
///
/// # Errors
/// [`TchError`] when CUDA is not there, or no memory can be pinned.
pub fn pinned(xs: &Tensor) -> Result<Tensor, TchError> {
    // SAFETY: the tensor is borrowed for the call.
    let tensor = own("pin_memory", unsafe { torch_ext_cuda_pinned(xs.as_ptr()) });
    tensor.map_err(|error| TchError::Torch(error.to_string()))
}

/// Copies the values of `from` into `to`, of which one is on a CUDA device and the other in [`pinned`] memory, in order with the
/// work that was put into the device's stream before. The host does not wait: it may read `to` after a synchronisation.
///
/// # Errors
/// [`TchError`] when shapes do not fit.
pub fn copy_in_order(to: &mut Tensor, from: &Tensor) -> Result<(), TchError> {
    // SAFETY: both tensors are borrowed for the call; libtorch keeps pinned memory until the copy is done.
    if unsafe { torch_ext_cuda_copy(to.as_mut_ptr(), from.as_ptr()) } == 1 {
        Ok(())
    } else {
        Err(TchError::Torch(last_error("copy").to_string()))
    }
}

/// Returns whether attention may go through cuDNN; see [`load`].
pub fn uses_cudnn_attention() -> bool {
    // SAFETY: reads a setting.
    unsafe { torch_ext_cudnn_attention() != 0 }
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

/// Makes CUDA device `index` the one that libraries beside libtorch work on in this thread.
///
/// # Errors
/// [`ExtError::Torch`] when CUDA is not there.
pub fn set_device(index: usize) -> Result<(), ExtError> {
    // SAFETY: takes a number only.
    if unsafe { torch_ext_cuda_set_device(index as c_int) } == 1 {
        Ok(())
    } else {
        Err(last_error("cuda_set_device"))
    }
}

/// Checks that all work in the current stream of CUDA device `index` is done; does not wait.
///
/// # Errors
/// [`ExtError::Torch`] when CUDA is not there, or the work has failed.
pub fn is_idle(index: usize) -> Result<bool, ExtError> {
    // SAFETY: takes a number only.
    match unsafe { torch_ext_cuda_is_idle(index as c_int) } {
        -1 => Err(last_error("cuda_is_idle")),
        idle => Ok(idle == 1),
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

/// Reads the bytes of CUDA device `index` that no process has taken; `None` where CUDA is not there.
pub fn free_bytes(index: usize) -> Option<u64> {
    load().ok()?;
    // SAFETY: takes a number only.
    u64::try_from(unsafe { torch_ext_cuda_free_bytes(index as c_int) }).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_gpu_attention_goes_without_plans_for_each_shape() {
        if !is_available() {
            eprintln!("skipped: on_a_gpu_attention_goes_without_plans_for_each_shape needs a CUDA device");
            return;
        }
        assert_eq!(uses_cudnn_attention(), std::env::var("CUDNN_ATTENTION").is_ok_and(|text| text == "1"));
    }
}
