//! NVIDIA's collectives, for tensors on GPUs: `libnccl.so.2`, opened when the first group on GPUs is joined.
#![expect(unsafe_code, reason = "the library's functions")]

use std::error::Error;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use libloading::Library;
use tch::{Kind, Tensor};
use torch_ext::cuda;

use crate::GroupError;
use crate::keys::Keys;

/// `ncclComm_t`, a pointer to what only the library knows.
type Handle = *mut c_void;
/// `ncclResult_t`.
type Status = c_int;

const SUCCESS: Status = 0;
const IN_PROGRESS: Status = 7;
/// `ncclSum`.
const SUM: c_int = 0;

/// Time between two looks at work that is not done.
const LOOK: Duration = Duration::from_micros(50);

/// `ncclUniqueId`.
#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([u8; 128]);

/// `ncclConfig_t` as it was in 2.14; later libraries read as much of it as it says that it is.
#[repr(C)]
struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
}

impl Config {
    /// Calls return at once, so that one that another process never answers can be aborted.
    fn non_blocking() -> Self {
        Self { size: size_of::<Self>(), magic: 0xcafe_beef, version: 21_400, blocking: 0 }
    }
}

/// The library's functions (nccl.h).
struct Functions {
    error_string: unsafe extern "C" fn(Status) -> *const c_char,
    unique_id: unsafe extern "C" fn(*mut UniqueId) -> Status,
    init: unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int, *mut Config) -> Status,
    all_reduce:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> Status,
    broadcast:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> Status,
    async_error: unsafe extern "C" fn(Handle, *mut Status) -> Status,
    abort: unsafe extern "C" fn(Handle) -> Status,
    destroy: unsafe extern "C" fn(Handle) -> Status,
    /// Keeps the functions loaded.
    _library: Library,
}

impl Functions {
    fn open() -> Result<Self, GroupError> {
        Self::load().map_err(|reason| GroupError::NoNccl { reason: reason.to_string() })
    }

    fn load() -> Result<Self, Box<dyn Error>> {
        // By its name it is the one that `libtorch_cuda` has brought; else the one of PyTorch's wheels.
        let beside = cuda::torch_dir().map(|dir| dir.join("../nvidia/nccl/lib/libnccl.so.2"));
        // SAFETY: a library without initialisers that matter; the signatures are those of nccl.h.
        unsafe {
            let library = Library::new("libnccl.so.2").or_else(|error| match &beside {
                Some(path) if path.exists() => Library::new(path),
                _ => Err(error),
            })?;
            Ok(Self {
                error_string: *library.get(b"ncclGetErrorString\0")?,
                unique_id: *library.get(b"ncclGetUniqueId\0")?,
                init: *library.get(b"ncclCommInitRankConfig\0")?,
                all_reduce: *library.get(b"ncclAllReduce\0")?,
                broadcast: *library.get(b"ncclBroadcast\0")?,
                async_error: *library.get(b"ncclCommGetAsyncError\0")?,
                abort: *library.get(b"ncclCommAbort\0")?,
                destroy: *library.get(b"ncclCommDestroy\0")?,
                _library: library,
            })
        }
    }

    fn check(&self, function: &'static str, status: Status) -> Result<(), GroupError> {
        if status == SUCCESS || status == IN_PROGRESS {
            return Ok(());
        }
        // SAFETY: the library returns a text that lives as long as it.
        let reason = unsafe { CStr::from_ptr((self.error_string)(status)) }.to_string_lossy().into_owned();
        Err(GroupError::Nccl { function, reason })
    }
}

/// Collectives of processes over tensors on GPUs, one GPU each.
pub(crate) struct Nccl {
    functions: Functions,
    comm: Handle,
    /// The GPU of this process.
    device: usize,
}

impl std::fmt::Debug for Nccl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nccl").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Nccl {
    /// Connects process `rank` of `size`, on CUDA device `device`; `still_there` fails when another process is gone.
    pub(crate) fn connect(
        keys: &Keys,
        (rank, size): (usize, usize),
        device: usize,
        patience: Duration,
        still_there: &dyn Fn() -> Result<(), GroupError>,
    ) -> Result<Self, GroupError> {
        let functions = Functions::open()?;
        cuda::set_device(device)?;
        let mut id = UniqueId([0; 128]);
        if rank == 0 {
            // SAFETY: writes the id.
            functions.check("ncclGetUniqueId", unsafe { (functions.unique_id)(&raw mut id) })?;
            keys.set_bytes("nccl", &id.0)?;
        } else {
            id.0 = keys.get_bytes("nccl", patience)?.try_into().unwrap_or([0; 128]);
        }
        let (mut comm, mut config) = (ptr::null_mut(), Config::non_blocking());
        // SAFETY: both pointers are valid for the call, which copies what it is given.
        let status =
            unsafe { (functions.init)(&raw mut comm, size as c_int, id, rank as c_int, &raw mut config) };
        let nccl = Self { functions, comm, device };
        nccl.functions.check("ncclCommInitRankConfig", status)?;
        let begun = Instant::now();
        while !nccl.is_settled()? {
            still_there()?;
            if begun.elapsed() > patience {
                let reason = "the other processes do not come".to_owned();
                return Err(GroupError::Nccl { function: "ncclCommInitRankConfig", reason });
            }
            thread::sleep(LOOK);
        }
        Ok(nccl)
    }

    /// Starts summing `tensor` over all processes, in place.
    pub(crate) fn all_reduce(&self, tensor: &Tensor) -> Result<(), GroupError> {
        self.start("ncclAllReduce", self.functions.all_reduce, tensor, SUM)
    }

    /// Starts copying the tensor of process `root` into that of every other.
    pub(crate) fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<(), GroupError> {
        self.start("ncclBroadcast", self.functions.broadcast, tensor, root as c_int)
    }

    /// Puts a collective into the current stream. `argument`: the operation, or the process that is copied from.
    fn start(
        &self,
        name: &'static str,
        function: unsafe extern "C" fn(
            *const c_void,
            *mut c_void,
            usize,
            c_int,
            c_int,
            Handle,
            *mut c_void,
        ) -> Status,
        tensor: &Tensor,
        argument: c_int,
    ) -> Result<(), GroupError> {
        let kind = match tensor.kind() {
            Kind::Float => 7,
            Kind::Double => 8,
            other => return Err(GroupError::Tensor { what: format!("of {other:?}") }),
        };
        if !tensor.is_contiguous() {
            return Err(GroupError::Tensor { what: "with gaps".to_owned() });
        }
        let (data, stream) = (tensor.data_ptr(), cuda::stream(self.device)?);
        // SAFETY: the tensor's elements are one behind another on the device of the communicator, and live until the caller has waited.
        let status = unsafe { function(data, data, tensor.numel(), kind, argument, self.comm, stream) };
        self.functions.check(name, status)
    }

    /// Waits up to `timeout` for all that was started; returns false where the end has not come.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<bool, GroupError> {
        let begun = Instant::now();
        while !(self.is_settled()? && cuda::is_idle(self.device)?) {
            if begun.elapsed() > timeout {
                return Ok(false);
            }
            thread::sleep(LOOK);
        }
        Ok(true)
    }

    /// Checks that what was called is under way; fails when a connection has broken.
    fn is_settled(&self) -> Result<bool, GroupError> {
        let mut state = SUCCESS;
        // SAFETY: writes the state.
        let status = unsafe { (self.functions.async_error)(self.comm, &raw mut state) };
        self.functions.check("ncclCommGetAsyncError", status)?;
        self.functions.check("a collective of NCCL", state)?;
        Ok(state == SUCCESS)
    }

    /// Gives up what is under way: a kernel that waits for a process that is gone would wait for ever, and this process with it.
    pub(crate) fn abort(self) {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the communicator is not used afterwards.
        unsafe { (this.functions.abort)(this.comm) };
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // SAFETY: made by `connect` and destroyed once.
        unsafe { (self.functions.destroy)(self.comm) };
    }
}
