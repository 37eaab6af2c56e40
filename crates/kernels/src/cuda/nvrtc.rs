//! NVIDIA's run-time compiler, opened when it is first needed.
#![expect(unsafe_code, reason = "the compiler's functions")]

use std::ffi::{CString, OsString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use libloading::{Library, Symbol};
use torch_ext::with_causes;

use super::launch::Source;
use crate::error::KernelError;

type Program = *mut std::ffi::c_void;
type Names = *const *const c_char;
type Create = unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, Names, Names) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, Names) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Count = unsafe extern "C" fn(*mut c_int) -> c_int;

const NAME: &str = "NVRTC";

/// Names of the library for the CUDA versions that PyTorch is built with, newest first.
const FILES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
/// Directories of NVIDIA's Python packages that hold it, from the directory that they share with `torch`.
const PACKAGES: [&str; 3] = ["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib", "nvidia/cu12/lib"];

/// Compiles `source` for compute capability `capability` (90 for 9.0): a program for exactly that, or PTX for the nearest
/// older one where this NVRTC does not know it yet. Either is what `cuModuleLoadData` takes.
///
/// The library is the one that `NVRTC_LIBRARY` names; else one that is loaded already or that lies beside libtorch, in
/// NVIDIA's Python packages; else the system's.
///
/// # Errors
/// [`KernelError::Library`] where there is no NVRTC, [`KernelError::Kernel`] with its log when it refuses.
pub(crate) fn compile(source: &Source, capability: i32) -> Result<Vec<u8>, KernelError> {
    let library = library()?;
    let fails =
        |message: String| KernelError::Refused { kernel: source.name.to_owned(), step: "compile", message };
    let text = |text: &str| CString::new(text).map_err(|error| fails(error.to_string()));
    let known = known(library)?;
    let nearest = known.iter().copied().filter(|&known| known <= capability).max();
    let nearest = nearest.ok_or_else(|| fails(format!("compute capability {capability} is too old")))?;
    let exact = nearest == capability;
    let architecture = format!("--gpu-architecture={}_{nearest}", if exact { "sm" } else { "compute" });
    let options = [text(&architecture)?, text("--std=c++17")?];
    let (code, name) = (text(source.text)?, text(source.name)?);
    let headers = source.headers.iter().map(|(name, code)| Ok((text(name)?, text(code)?)));
    let headers = headers.collect::<Result<Vec<_>, KernelError>>()?;
    let names: Vec<*const c_char> = headers.iter().map(|(name, _)| name.as_ptr()).collect();
    let codes: Vec<*const c_char> = headers.iter().map(|(_, code)| code.as_ptr()).collect();
    let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();

    let mut program: Program = ptr::null_mut();
    // SAFETY: the signatures are those of nvrtc.h; all strings outlive the calls, and NVRTC keeps none.
    unsafe {
        let create = symbol::<Create>(library, "nvrtcCreateProgram")?;
        let count = names.len() as c_int;
        if create(&raw mut program, code.as_ptr(), name.as_ptr(), count, codes.as_ptr(), names.as_ptr()) != 0
        {
            return Err(fails("NVRTC makes no program of it".to_owned()));
        }
        let compile = symbol::<Compile>(library, "nvrtcCompileProgram")?;
        let (size, bytes) = if compile(program, options.len() as c_int, options.as_ptr()) != 0 {
            ("nvrtcGetProgramLogSize", "nvrtcGetProgramLog")
        } else if exact {
            ("nvrtcGetCUBINSize", "nvrtcGetCUBIN")
        } else {
            ("nvrtcGetPTXSize", "nvrtcGetPTX")
        };
        let result = read(library, program, size, bytes);
        symbol::<Destroy>(library, "nvrtcDestroyProgram")?(&raw mut program);
        let result = result?.ok_or_else(|| fails("NVRTC gives no result".to_owned()))?;
        if size == "nvrtcGetProgramLogSize" {
            return Err(fails(String::from_utf8_lossy(&result).trim_end_matches('\0').trim().to_owned()));
        }
        Ok(result)
    }
}

/// Reads the result of a pair of NVRTC's functions: its length, and its bytes.
///
/// # Safety
/// `program` has to be one of `library`, and the functions of the two kinds.
unsafe fn read(
    library: &Library,
    program: Program,
    size: &str,
    bytes: &str,
) -> Result<Option<Vec<u8>>, KernelError> {
    // SAFETY: by the caller's promise; the buffer is as large as NVRTC says.
    unsafe {
        let (size, bytes) = (symbol::<Size>(library, size)?, symbol::<Text>(library, bytes)?);
        let mut len = 0;
        if size(program, &raw mut len) != 0 {
            return Ok(None);
        }
        let mut buffer = vec![0u8; len];
        Ok((bytes(program, buffer.as_mut_ptr().cast()) == 0).then_some(buffer))
    }
}

/// Lists the compute capabilities that this NVRTC knows.
fn known(library: &Library) -> Result<Vec<c_int>, KernelError> {
    // SAFETY: the signatures are those of nvrtc.h; the array is as long as NVRTC says.
    unsafe {
        let mut count = 0;
        symbol::<Count>(library, "nvrtcGetNumSupportedArchs")?(&raw mut count);
        let mut all = vec![0; count.max(0) as usize];
        symbol::<Count>(library, "nvrtcGetSupportedArchs")?(all.as_mut_ptr());
        Ok(all)
    }
}

/// Finds a function by name.
///
/// # Safety
/// `T` has to be the type of the function.
pub(super) unsafe fn symbol<'a, T>(library: &'a Library, name: &str) -> Result<Symbol<'a, T>, KernelError> {
    // SAFETY: by the caller's promise.
    unsafe { library.get(name.as_bytes()) }
        .map_err(|error| KernelError::Library { library: "CUDA library", reason: with_causes(&error) })
}

fn library() -> Result<&'static Library, KernelError> {
    static OPENED: OnceLock<Result<Library, String>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| open(std::env::var_os("NVRTC_LIBRARY")));
    opened.as_ref().map_err(|reason| KernelError::Library { library: NAME, reason: reason.clone() })
}

fn open(named: Option<OsString>) -> Result<Library, String> {
    let paths = named.map_or_else(candidates, |path| vec![PathBuf::from(path)]);
    let mut reasons = String::from("no place to look for it");
    for path in paths {
        // NVRTC looks for this one by its name alone.
        if let Some(builtins) = path.parent().and_then(builtins)
            // SAFETY: a library of NVIDIA's, whose initialisers are harmless.
            && let Ok(builtins) = unsafe { Library::new(builtins) }
        {
            std::mem::forget(builtins);
        }
        // SAFETY: as above.
        match unsafe { Library::new(&path) } {
            Ok(library) => return Ok(library),
            Err(error) => reasons = with_causes(&error),
        }
    }
    Err(reasons)
}

fn candidates() -> Vec<PathBuf> {
    let mut all = Vec::new();
    if let Some(packages) = torch_ext::cuda::torch_dir().as_deref().and_then(Path::parent) {
        let beside = PACKAGES.iter().map(|package| packages.join(package));
        let files = beside.flat_map(|dir| FILES.map(|file| dir.join(file)));
        all.extend(files.filter(|file| file.exists()));
    }
    all.extend(FILES.map(PathBuf::from));
    all
}

fn builtins(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    let mut files = entries.flatten().map(|entry| entry.path());
    files.find(|file| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc-builtins.so"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_that_is_not_there_is_not_replaced_by_another() {
        let error = open(Some("/no/such/libnvrtc.so".into())).unwrap_err();
        assert!(error.contains("/no/such/libnvrtc.so"), "{error}");
    }
}
