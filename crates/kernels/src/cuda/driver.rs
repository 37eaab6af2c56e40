//! The CUDA driver: contexts, loaded programs, launches.
#![expect(unsafe_code, reason = "the driver's functions")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::Library;
use torch_ext::with_causes;

use super::launch::{Launch, Source};
use super::nvrtc::{compile, symbol};
use crate::error::KernelError;

/// `CUcontext`, `CUmodule`, `CUfunction` and `CUstream` are pointers to what only the driver knows.
type Handle = *mut c_void;

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `…_MINOR` (cuda.h).
const CAPABILITY: [c_int; 2] = [75, 76];

/// The driver's functions (cuda.h; `_v2` where that is what the header calls by the plain name).
struct Driver {
    error_string: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
    attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int,
    retain: unsafe extern "C" fn(*mut Handle, c_int) -> c_int,
    push: unsafe extern "C" fn(Handle) -> c_int,
    pop: unsafe extern "C" fn(*mut Handle) -> c_int,
    load: unsafe extern "C" fn(*mut Handle, *const c_void) -> c_int,
    function: unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> c_int,
    launch: unsafe extern "C" fn(
        Handle,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        Handle,
        *mut *mut c_void,
        *mut *mut c_void,
    ) -> c_int,
    /// Keeps the functions loaded.
    _library: Library,
}

/// Contexts, modules and functions that are loaded. Handles as numbers: the driver lets any thread use them.
#[derive(Default)]
struct Loaded {
    /// The context of each device, which is libtorch's too.
    contexts: HashMap<usize, usize>,
    /// By device and file.
    modules: HashMap<(usize, &'static str), usize>,
    /// By device and kernel.
    functions: HashMap<(usize, &'static str), usize>,
}

fn loaded() -> MutexGuard<'static, Loaded> {
    static LOADED: OnceLock<Mutex<Loaded>> = OnceLock::new();
    LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Launch<'_> {
    /// Puts the kernel into the current stream of CUDA device `index`; it is compiled and loaded first if it never was. Does
    /// not wait for it.
    ///
    /// # Safety
    /// The arguments have to be what the kernel is written for, in number, type and size, on that device.
    ///
    /// # Errors
    /// [`KernelError::Library`] where there is no NVRTC or no driver, [`KernelError::Kernel`] when one of them refuses.
    pub(crate) unsafe fn run(&self, index: usize) -> Result<(), KernelError> {
        launch(self, index)
    }
}

/// Does what [`Launch::run`] promises, under its conditions.
fn launch(launch: &Launch<'_>, index: usize) -> Result<(), KernelError> {
    let driver = Driver::get()?;
    let context = driver.context(index)?;
    driver.within(context, launch.function, || {
        let function = driver.find(launch, index)?;
        let stream = torch_ext::cuda::stream(index)?;
        let status = launch.with_addresses(|addresses| {
            // SAFETY: the function is of this device's context, which is current; arguments are as the caller promised.
            unsafe {
                (driver.launch)(
                    function,
                    launch.blocks,
                    1,
                    1,
                    launch.threads,
                    1,
                    1,
                    0,
                    stream,
                    addresses.as_mut_ptr(),
                    ptr::null_mut(),
                )
            }
        });
        driver.check(status, launch.function, "launch")
    })
}

impl Driver {
    fn get() -> Result<&'static Self, KernelError> {
        static OPENED: OnceLock<Result<Driver, String>> = OnceLock::new();
        let opened = OPENED.get_or_init(|| Self::open().map_err(|error| with_causes(error.as_ref())));
        opened
            .as_ref()
            .map_err(|reason| KernelError::Library { library: "CUDA driver", reason: reason.clone() })
    }

    fn open() -> Result<Self, Box<dyn std::error::Error>> {
        // SAFETY: the driver's library, which libtorch has opened where there is a GPU; the signatures are those of cuda.h.
        unsafe {
            let library = Library::new("libcuda.so.1")?;
            Ok(Self {
                error_string: *symbol(&library, "cuGetErrorString")?,
                attribute: *symbol(&library, "cuDeviceGetAttribute")?,
                retain: *symbol(&library, "cuDevicePrimaryCtxRetain")?,
                push: *symbol(&library, "cuCtxPushCurrent_v2")?,
                pop: *symbol(&library, "cuCtxPopCurrent_v2")?,
                load: *symbol(&library, "cuModuleLoadData")?,
                function: *symbol(&library, "cuModuleGetFunction")?,
                launch: *symbol(&library, "cuLaunchKernel")?,
                _library: library,
            })
        }
    }

    /// Calls `body` while `context` is the thread's current one.
    fn within<R>(
        &self,
        context: Handle,
        kernel: &str,
        body: impl FnOnce() -> Result<R, KernelError>,
    ) -> Result<R, KernelError> {
        // SAFETY: a context that `context` gave.
        self.check(unsafe { (self.push)(context) }, kernel, "make its context current")?;
        let result = body();
        let mut popped = ptr::null_mut();
        // SAFETY: takes back what was pushed above.
        let status = unsafe { (self.pop)(&raw mut popped) };
        let result = result?;
        self.check(status, kernel, "leave its context")?;
        Ok(result)
    }

    /// Returns the primary context of a device, which the CUDA runtime and so libtorch use.
    fn context(&self, index: usize) -> Result<Handle, KernelError> {
        if let Some(&context) = loaded().contexts.get(&index) {
            return Ok(context as Handle);
        }
        // libtorch brings the driver up, and the device's context with it.
        torch_ext::cuda::stream(index)?;
        let mut context = ptr::null_mut();
        // SAFETY: the device is one of libtorch's, which counts them as the driver does.
        let status = unsafe { (self.retain)(&raw mut context, index as c_int) };
        self.check(status, &format!("cuda:{index}"), "give its context")?;
        loaded().contexts.insert(index, context as usize);
        Ok(context)
    }

    /// Finds the kernel on a device; its context is current.
    fn find(&self, launch: &Launch<'_>, index: usize) -> Result<Handle, KernelError> {
        if let Some(&function) = loaded().functions.get(&(index, launch.function)) {
            return Ok(function as Handle);
        }
        let module = self.module(launch.source, index)?;
        let name = CString::new(launch.function).unwrap_or_default();
        let mut function = ptr::null_mut();
        // SAFETY: a module of this context, and a name that ends with a zero.
        let status = unsafe { (self.function)(&raw mut function, module, name.as_ptr()) };
        self.check(status, launch.function, "be found")?;
        loaded().functions.insert((index, launch.function), function as usize);
        Ok(function)
    }

    fn module(&self, source: &Source, index: usize) -> Result<Handle, KernelError> {
        if let Some(&module) = loaded().modules.get(&(index, source.name)) {
            return Ok(module as Handle);
        }
        let capability = self.capability(index)?;
        if capability < source.least_capability {
            let least = source.least_capability;
            let message = format!("compute capability {capability}; expected {least} or more");
            return Err(KernelError::Refused { kernel: source.name.to_owned(), step: "compile", message });
        }
        let program = compile(source, capability)?;
        let mut module = ptr::null_mut();
        // SAFETY: a whole program, as NVRTC made it; the driver copies it.
        let status = unsafe { (self.load)(&raw mut module, program.as_ptr().cast()) };
        self.check(status, source.name, "load")?;
        loaded().modules.insert((index, source.name), module as usize);
        Ok(module)
    }

    /// Returns 90 for compute capability 9.0.
    fn capability(&self, index: usize) -> Result<i32, KernelError> {
        let [mut major, mut minor] = [0, 0];
        for (part, attribute) in [(&mut major, CAPABILITY[0]), (&mut minor, CAPABILITY[1])] {
            // SAFETY: writes one number.
            let status = unsafe { (self.attribute)(part, attribute, index as c_int) };
            self.check(status, &format!("cuda:{index}"), "tell its compute capability")?;
        }
        Ok(major * 10 + minor)
    }

    /// Turns a status other than 0 into an error with the driver's words.
    fn check(&self, status: c_int, kernel: &str, step: &'static str) -> Result<(), KernelError> {
        if status == 0 {
            return Ok(());
        }
        let mut text: *const c_char = ptr::null();
        // SAFETY: the driver answers with a string that lives forever, or with none.
        let message = unsafe {
            (self.error_string)(status, &raw mut text);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Err(KernelError::Refused {
            kernel: kernel.to_owned(),
            step,
            message: format!("{message} ({status})"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Source =
        Source { name: "nothing.cu", text: "", headers: &[], kernels: &[], least_capability: 80 };

    #[test]
    fn without_a_gpu_a_launch_is_an_error_and_no_crash() {
        if torch_ext::cuda::is_available() {
            eprintln!(
                "skipped: without_a_gpu_a_launch_is_an_error_and_no_crash needs a machine without a GPU"
            );
            return;
        }
        let launch =
            Launch { source: &NOTHING, function: "none", blocks: 1, threads: 32, arguments: Vec::new() };
        // SAFETY: a kernel without arguments.
        let error = unsafe { launch.run(0) }.unwrap_err();
        assert!(matches!(error, KernelError::Library { .. } | KernelError::Refused { .. }), "{error}");
    }
}
