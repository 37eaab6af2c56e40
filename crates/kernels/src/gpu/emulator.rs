//! Kernels on a CPU: the sources of a GPU, built by the host's compiler (`cuda/emulator/cuda.h`).
#![expect(unsafe_code, reason = "a library that was built a moment ago is called")]

use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use crate::cuda::{Launch, Source};
use crate::error::KernelError;

type Emulate = unsafe extern "C" fn(*const c_char, c_uint, c_uint, *mut *mut c_void) -> *const c_char;

/// Undefined where it meets a misaligned address or leaves an array; rounds after each operation, as asked to.
const FLAGS: [&str; 11] = [
    "-std=c++17",
    "-O1",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-fsanitize=alignment,bounds",
    "-fsanitize-undefined-trap-on-error",
    "-fPIC",
    "-shared",
];

/// One file of kernels, built.
pub(super) struct Emulator {
    /// One launch at a time: shared memory is one place.
    library: Mutex<Library>,
}

impl Emulator {
    pub(super) fn new(source: &Source) -> Self {
        Self::of_text(source, source.text)
    }

    /// Does what [`Self::new`] does, with another text in the place of the source's.
    pub(super) fn of_text(source: &Source, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let header = ("cuda.h", include_str!("../../cuda/emulator/cuda.h"));
        for (name, text) in source.headers.iter().chain([&header, &(source.name, text)]) {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut main = format!("#include \"cuda.h\"\n#include \"{}\"\n", source.name);
        for name in source.kernels {
            writeln!(main, "EMULATE({name})").unwrap();
        }
        let (main_path, library) = (dir.path().join("main.cpp"), dir.path().join("kernels.so"));
        std::fs::write(&main_path, main).unwrap();
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let built =
            Command::new(compiler).args(FLAGS).arg("-o").arg(&library).arg(&main_path).output().unwrap();
        assert!(built.status.success(), "{}: {}", source.name, String::from_utf8_lossy(&built.stderr));
        // SAFETY: its initialisers fill a table of names.
        Self { library: Mutex::new(unsafe { Library::new(&library) }.unwrap()) }
    }

    pub(super) fn run(&self, launch: &Launch<'_>) -> Result<(), KernelError> {
        let library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        let name = CString::new(launch.function).unwrap();
        // SAFETY: the signature is that of `cuda.h`; arguments are what a launch on a device would get.
        let error = unsafe {
            let emulate = library.get::<Emulate>("emulate").unwrap();
            launch.with_addresses(|addresses| {
                emulate(name.as_ptr(), launch.blocks, launch.threads, addresses.as_mut_ptr())
            })
        };
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: a string literal of `cuda.h`.
        let message = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
        Err(KernelError::Refused { kernel: launch.function.to_owned(), step: "run", message })
    }
}
