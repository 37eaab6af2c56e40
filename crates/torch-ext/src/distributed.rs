//! Several processes: libtorch's store of keys and its collectives for tensors on CPUs.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::time::Duration;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::last_error;

type Take = extern "C" fn(*mut c_void, *const u8, usize);

unsafe extern "C" {
    fn torch_ext_store_new(host: *const c_char, port: u16, serve: c_int, timeout_ms: i64) -> *mut c_void;
    fn torch_ext_store_clone(store: *const c_void) -> *mut c_void;
    fn torch_ext_store_free(store: *mut c_void);
    fn torch_ext_store_port(store: *const c_void) -> c_int;
    fn torch_ext_store_set(store: *const c_void, key: *const c_char, data: *const u8, len: usize) -> c_int;
    fn torch_ext_store_set_first(
        store: *const c_void,
        key: *const c_char,
        data: *const u8,
        len: usize,
        take: Take,
        user: *mut c_void,
    ) -> c_int;
    fn torch_ext_store_get(
        store: *const c_void,
        key: *const c_char,
        timeout_ms: i64,
        take: Take,
        user: *mut c_void,
    ) -> c_int;
    fn torch_ext_store_check(store: *const c_void, key: *const c_char) -> c_int;
    fn torch_ext_store_add(store: *const c_void, key: *const c_char, by: i64) -> i64;
    fn torch_ext_gloo_new(
        store: *const c_void,
        prefix: *const c_char,
        rank: c_int,
        size: c_int,
        host: *const c_char,
        interface: *const c_char,
        timeout_ms: i64,
    ) -> *mut c_void;
    fn torch_ext_gloo_free(gloo: *mut c_void);
    fn torch_ext_gloo_all_reduce(gloo: *const c_void, tensor: *mut C_tensor) -> *mut c_void;
    fn torch_ext_gloo_broadcast(gloo: *const c_void, tensor: *mut C_tensor, root: c_int) -> *mut c_void;
    fn torch_ext_work_wait(work: *const c_void, timeout_ms: i64) -> c_int;
    fn torch_ext_work_free(work: *mut c_void);
}

/// Keys and values that processes share (`c10d::TCPStore`): one process keeps them, the others ask it.
///
/// Calls on one store wait for each other; a thread of its own takes [`Store::connect_again`].
#[derive(Debug)]
pub struct Store(NonNull<c_void>);

// SAFETY: libtorch's store locks itself (`activeOpLock_`) and belongs to no thread.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// Opens a store at `host`: keeps the keys in this process where `serve` is set, at any free port for 0, and connects to the
    /// process that does otherwise, waiting for it up to `timeout`. Every call on it gives up after `timeout`.
    ///
    /// # Errors
    /// [`ExtError::Torch`] when the port is taken, or nobody answers there.
    pub fn open(host: &str, port: u16, serve: bool, timeout: Duration) -> Result<Self, ExtError> {
        let host = text(host);
        // SAFETY: the string lives through the call.
        let store = unsafe { torch_ext_store_new(host.as_ptr(), port, c_int::from(serve), millis(timeout)) };
        NonNull::new(store).map(Self).ok_or_else(|| last_error("TCPStore"))
    }

    /// Opens another connection to the same keys.
    ///
    /// # Errors
    /// [`ExtError::Torch`] when nobody answers any more.
    pub fn connect_again(&self) -> Result<Self, ExtError> {
        // SAFETY: the store is alive.
        let store = unsafe { torch_ext_store_clone(self.0.as_ptr()) };
        NonNull::new(store).map(Self).ok_or_else(|| last_error("TCPStore"))
    }

    /// Returns the port that the keys are kept at.
    ///
    /// # Errors
    /// Never in practice.
    pub fn port(&self) -> Result<u16, ExtError> {
        // SAFETY: the store is alive.
        let port = unsafe { torch_ext_store_port(self.0.as_ptr()) };
        u16::try_from(port).map_err(|_| last_error("TCPStore"))
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`ExtError::Torch`] when the process that keeps the keys is gone.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), ExtError> {
        let key = text(key);
        // SAFETY: key and value live through the call.
        done(unsafe { torch_ext_store_set(self.0.as_ptr(), key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// Sets a key that nobody has set yet; returns the value that is there then.
    ///
    /// # Errors
    /// Those of [`Store::set`].
    pub fn set_first(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, ExtError> {
        let (key, mut taken) = (text(key), Vec::new());
        let user = (&raw mut taken).cast();
        // SAFETY: key, value and the place for the answer live through the call.
        done(unsafe {
            let (data, len) = (value.as_ptr(), value.len());
            torch_ext_store_set_first(self.0.as_ptr(), key.as_ptr(), data, len, take, user)
        })?;
        Ok(taken)
    }

    /// Returns the value of a key, waiting up to `timeout` until it is set.
    ///
    /// # Errors
    /// Those of [`Store::set`], and when nobody sets it in this time.
    pub fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, ExtError> {
        let (key, mut taken) = (text(key), Vec::new());
        let user = (&raw mut taken).cast();
        // SAFETY: key and the place for the answer live through the call.
        done(unsafe { torch_ext_store_get(self.0.as_ptr(), key.as_ptr(), millis(timeout), take, user) })?;
        Ok(taken)
    }

    /// Checks that a key is set.
    ///
    /// # Errors
    /// Those of [`Store::set`].
    pub fn has(&self, key: &str) -> Result<bool, ExtError> {
        let key = text(key);
        // SAFETY: the key lives through the call.
        match unsafe { torch_ext_store_check(self.0.as_ptr(), key.as_ptr()) } {
            -1 => Err(last_error("TCPStore")),
            is_set => Ok(is_set == 1),
        }
    }

    /// Adds to a number, 0 at first; returns the sum.
    ///
    /// # Errors
    /// Those of [`Store::set`].
    pub fn add(&self, key: &str, by: u32) -> Result<u64, ExtError> {
        let key = text(key);
        // SAFETY: the key lives through the call.
        let sum = unsafe { torch_ext_store_add(self.0.as_ptr(), key.as_ptr(), i64::from(by)) };
        u64::try_from(sum).map_err(|_| last_error("TCPStore"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by `torch_ext_store_new` or `_clone` and freed once.
        unsafe { torch_ext_store_free(self.0.as_ptr()) };
    }
}

/// Collectives of processes over tensors on CPUs (`c10d::ProcessGroupGloo`). All processes have to start the same ones in the
/// same order. Sums are made in an order that depends on the number of processes alone, and are the same bytes in all of
/// them.
#[derive(Debug)]
pub struct Gloo(NonNull<c_void>);

// SAFETY: libtorch's object belongs to no thread; the type is not `Sync`.
unsafe impl Send for Gloo {}

/// The address of this machine that the other processes connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen<'a> {
    /// That of this machine's own name.
    Hostname,
    /// An address or a name.
    Address(&'a str),
    /// That of a network interface.
    Interface(&'a str),
}

impl Gloo {
    /// Connects process `rank` of `size` to all others through the keys of `store` that begin with `prefix`.
    ///
    /// # Errors
    /// [`ExtError::Torch`] when they do not all come within `timeout`.
    pub fn connect(
        store: &Store,
        prefix: &str,
        (rank, size): (usize, usize),
        listen: Listen<'_>,
        timeout: Duration,
    ) -> Result<Self, ExtError> {
        let prefix = text(prefix);
        let (host, interface) = match listen {
            Listen::Hostname => (None, None),
            Listen::Address(host) => (Some(text(host)), None),
            Listen::Interface(interface) => (None, Some(text(interface))),
        };
        let or_null = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        // SAFETY: the store and the strings live through the call.
        let gloo = unsafe {
            torch_ext_gloo_new(
                store.0.as_ptr(),
                prefix.as_ptr(),
                rank as c_int,
                size as c_int,
                or_null(&host),
                or_null(&interface),
                millis(timeout),
            )
        };
        NonNull::new(gloo).map(Self).ok_or_else(|| last_error("ProcessGroupGloo"))
    }

    /// Starts summing `tensor` over all processes, in place.
    ///
    /// # Errors
    /// [`ExtError::Torch`] for a tensor that is not dense or not on the CPU.
    pub fn all_reduce(&self, tensor: &mut Tensor) -> Result<Work, ExtError> {
        // SAFETY: the tensor is borrowed for the call, in which the C++ side takes a reference of its own.
        let work = unsafe { torch_ext_gloo_all_reduce(self.0.as_ptr(), tensor.as_mut_ptr()) };
        NonNull::new(work).map(Work).ok_or_else(|| last_error("all_reduce"))
    }

    /// Starts copying the tensor of process `root` into that of every other.
    ///
    /// # Errors
    /// Those of [`Gloo::all_reduce`].
    pub fn broadcast(&self, tensor: &mut Tensor, root: usize) -> Result<Work, ExtError> {
        // SAFETY: as in `all_reduce`.
        let work = unsafe { torch_ext_gloo_broadcast(self.0.as_ptr(), tensor.as_mut_ptr(), root as c_int) };
        NonNull::new(work).map(Work).ok_or_else(|| last_error("broadcast"))
    }
}

impl Drop for Gloo {
    fn drop(&mut self) {
        // SAFETY: made by `torch_ext_gloo_new` and freed once.
        unsafe { torch_ext_gloo_free(self.0.as_ptr()) };
    }
}

/// A collective under way.
#[derive(Debug)]
pub struct Work(NonNull<c_void>);

impl Work {
    /// Waits up to `timeout` for the end; returns false where it has not come.
    ///
    /// # Errors
    /// [`ExtError::Torch`] when a process has left.
    pub fn wait(&self, timeout: Duration) -> Result<bool, ExtError> {
        // SAFETY: the work is alive.
        match unsafe { torch_ext_work_wait(self.0.as_ptr(), millis(timeout)) } {
            -1 => Err(last_error("wait")),
            done => Ok(done == 1),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // SAFETY: made by a collective and freed once.
        unsafe { torch_ext_work_free(self.0.as_ptr()) };
    }
}

/// Takes over bytes that the C++ side shows for the length of the call.
extern "C" fn take(user: *mut c_void, data: *const u8, len: usize) {
    if len > 0 {
        // SAFETY: `user` is the vector that the caller lends; the bytes live through this call.
        unsafe { (*user.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(data, len)) };
    }
}

fn done(result: c_int) -> Result<(), ExtError> {
    if result == 1 { Ok(()) } else { Err(last_error("TCPStore")) }
}

/// Ends a text with a zero; a zero in it, which no name has, ends it earlier.
fn text(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// At least 1: c10d takes 0 for no limit.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    #[test]
    fn keys_are_shared_and_the_first_value_stays() {
        let served = Store::open("127.0.0.1", 0, true, TIMEOUT).unwrap();
        let other = Store::open("127.0.0.1", served.port().unwrap(), false, TIMEOUT).unwrap();
        assert!(!served.has("key").unwrap());
        other.set("key", b"value\0").unwrap();
        assert_eq!(served.connect_again().unwrap().get("key", TIMEOUT).unwrap(), b"value\0");
        assert_eq!(served.set_first("first", b"mine").unwrap(), b"mine");
        assert_eq!(other.set_first("first", b"other").unwrap(), b"mine");
        assert_eq!((other.add("n", 2).unwrap(), served.add("n", 3).unwrap()), (2, 5));
        assert!(served.get("nothing", Duration::from_millis(20)).is_err());
        drop(served);
        assert!(other.set("key", b"").is_err() || other.has("key").is_err());
    }

    #[test]
    fn sums_and_copies_are_the_same_in_every_process() {
        let served = Store::open("127.0.0.1", 0, true, TIMEOUT).unwrap();
        let port = served.port().unwrap();
        let run = move |rank: usize| {
            let store = Store::open("127.0.0.1", port, false, TIMEOUT).unwrap();
            let gloo =
                Gloo::connect(&store, "test", (rank, 3), Listen::Address("127.0.0.1"), TIMEOUT).unwrap();
            let mut sum = Tensor::from_slice(&[0.1 + rank as f32, 1e-8, 1e8 * rank as f32]);
            assert!(gloo.all_reduce(&mut sum).unwrap().wait(TIMEOUT).unwrap());
            let mut copy = Tensor::from_slice(&[rank as f64]);
            assert!(gloo.broadcast(&mut copy, 1).unwrap().wait(TIMEOUT).unwrap());
            (Vec::<f32>::try_from(&sum).unwrap(), f64::try_from(&copy).unwrap() as i64)
        };
        let threads: Vec<_> = (0..3).map(|rank| thread::spawn(move || run(rank))).collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
        assert!((results[0].0[0] - 3.3).abs() < 1e-6 && results[0].1 == 1);
    }
}
