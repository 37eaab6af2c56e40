//! Work on a CUDA device recorded once and repeated: a launch of a graph instead of hundreds of launches of kernels.

use std::error::Error;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use crate::ExtError;
use crate::error::{last_error, with_causes};

unsafe extern "C" {
    #[cfg(test)]
    fn torch_ext_graph_symbol(index: usize) -> *const std::ffi::c_char;
    fn torch_ext_graph_capture(
        index: c_int,
        run: extern "C" fn(*mut c_void) -> c_int,
        user: *mut c_void,
    ) -> *mut c_void;
    fn torch_ext_graph_replay(graph: *mut c_void) -> c_int;
    fn torch_ext_graph_free(graph: *mut c_void);
}

/// Recorded work, with the memory it needs.
#[derive(Debug)]
pub struct CudaGraph(NonNull<c_void>);

// SAFETY: libtorch's object belongs to no thread; `&self` is not shared, since the type is not `Sync`.
unsafe impl Send for CudaGraph {}

/// Result of a closure that is recorded.
type Recorded<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Call<'a, T> {
    body: &'a mut dyn FnMut() -> Recorded<T>,
    result: Option<Recorded<T>>,
}

extern "C" fn run<T>(user: *mut c_void) -> c_int {
    // SAFETY: `user` is the call that `capture` borrows for as long as it lasts, and on one thread.
    let call = unsafe { &mut *user.cast::<Call<'_, T>>() };
    // A panic may not go through the C++ side.
    let result = catch_unwind(AssertUnwindSafe(|| (call.body)()))
        .unwrap_or_else(|_| Err("the recorded closure panicked".into()));
    let done = result.is_ok();
    call.result = Some(result);
    c_int::from(done)
}

impl CudaGraph {
    /// Calls `body` twice on CUDA device `index`: once as it is, so that what is made at first use is there, and once recorded,
    /// which computes nothing. What the second call returned is filled by each [`Self::replay`].
    ///
    /// `body` may read and write tensors that live as long as the graph. It may not wait for the device (no `item`, no copy
    /// to the host), not copy from the host, and not depend on values of tensors in its shapes.
    ///
    /// # Errors
    /// [`ExtError::Torch`] when CUDA is not loaded, `body` fails or does what cannot be recorded.
    pub fn capture<T>(index: usize, body: &mut dyn FnMut() -> Recorded<T>) -> Result<(Self, T), ExtError> {
        let mut call = Call { body, result: None };
        let user = (&raw mut call).cast::<c_void>();
        // SAFETY: `call` outlives the call, which is done on this thread.
        let graph = unsafe { torch_ext_graph_capture(index as c_int, run::<T>, user) };
        match (NonNull::new(graph).map(Self), call.result) {
            (_, Some(Err(error))) => Err(ExtError::Torch { op: "graph", message: with_causes(&*error) }),
            (Some(graph), Some(Ok(result))) => Ok((graph, result)),
            _ => Err(last_error("graph")),
        }
    }

    /// Puts the recorded work into the current stream of its device.
    ///
    /// # Errors
    /// [`ExtError::Torch`] when the device refuses.
    pub fn replay(&self) -> Result<(), ExtError> {
        // SAFETY: made by `capture`, and not freed yet.
        if unsafe { torch_ext_graph_replay(self.0.as_ptr()) } == 1 {
            Ok(())
        } else {
            Err(last_error("replay"))
        }
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: made by `capture`, and freed here only.
        unsafe { torch_ext_graph_free(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use tch::{Device, Kind, Tensor};

    #[test]
    fn libtorch_exports_every_symbol_that_graphs_need() {
        let test = "libtorch_exports_every_symbol_that_graphs_need";
        let library = crate::cuda::torch_dir().map(|dir| dir.join("lib/libtorch_cuda.so"));
        let Some(library) = library.filter(|library| library.exists()) else {
            eprintln!("skipped: {test} needs a libtorch with CUDA");
            return;
        };
        let mut nm = Command::new("nm");
        let Ok(mut nm) = nm.args(["-D", "--defined-only"]).arg(library).stdout(Stdio::piped()).spawn() else {
            eprintln!("skipped: {test} needs `nm`");
            return;
        };
        let mut wanted: Vec<String> = (0..)
            // SAFETY: a string literal, or null behind the last.
            .map_while(|index| unsafe {
                let name = torch_ext_graph_symbol(index);
                (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
            })
            .collect();
        assert_eq!(wanted.len(), 5);
        // Some hundred thousand lines, one at a time.
        for line in BufReader::new(nm.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let there = line.rsplit(' ').next().unwrap_or_default();
            wanted.retain(|name| name != there);
        }
        assert!(nm.wait().unwrap().success());
        assert!(wanted.is_empty(), "libtorch_cuda lacks {wanted:?}");
    }

    #[test]
    fn without_cuda_a_capture_is_an_error() {
        if crate::cuda::is_available() {
            eprintln!("skipped: without_cuda_a_capture_is_an_error needs no GPU");
            return;
        }
        let mut body = || -> Recorded<()> { panic!("called") };
        assert!(matches!(CudaGraph::capture(0, &mut body), Err(ExtError::Torch { .. })));
    }

    #[test]
    fn on_a_gpu_a_replay_reads_the_current_values_of_its_inputs() {
        if !crate::cuda::is_available() {
            eprintln!(
                "skipped: on_a_gpu_a_replay_reads_the_current_values_of_its_inputs needs a CUDA device"
            );
            return;
        }
        let mut xs = Tensor::ones([4], (Kind::Float, Device::Cuda(0)));
        let mut body = || -> Recorded<Tensor> { Ok(xs.f_mul_scalar(3.0)?.f_add_scalar(1.0)?) };
        let (graph, ys) = CudaGraph::capture(0, &mut body).unwrap();
        // cuBLAS keeps a workspace for each stream: all recordings take one.
        let mut stream = || -> Recorded<usize> { Ok(crate::cuda::stream(0)?.addr()) };
        let [one, other] = [0, 1].map(|_| CudaGraph::capture(0, &mut stream).unwrap().1);
        assert_eq!(one, other);
        for value in [2.0, -5.0] {
            let _ = xs.fill_(value);
            graph.replay().unwrap();
            assert_eq!(
                Vec::<f32>::try_from(ys.to_device(Device::Cpu)).unwrap(),
                [value as f32 * 3.0 + 1.0; 4]
            );
        }
        // A copy to the host cannot be recorded, nor can a panic, and what comes after goes on.
        let mut body = || -> Recorded<f64> { Ok(xs.f_double_value(&[0])?) };
        assert!(CudaGraph::capture(0, &mut body).is_err());
        let mut body = || -> Recorded<()> { panic!("in a recording") };
        assert!(CudaGraph::capture(0, &mut body).is_err());
        assert!((xs.double_value(&[0]) + 5.0).abs() < 1e-9);
    }
}
