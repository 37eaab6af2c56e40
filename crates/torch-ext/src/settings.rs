//! The libtorch this program runs with, in its own words.

use std::ffi::c_char;

unsafe extern "C" {
    fn torch_ext_settings(out: *mut c_char, size: usize) -> usize;
}

/// Returns the value of a setting that libtorch was built with, such as `TORCH_VERSION` or `CUDA_VERSION`; `None` where it has
/// no such setting (`at::show_config`, aten/src/ATen/Version.cpp).
pub fn setting(name: &str) -> Option<String> {
    let mut buffer = vec![0u8; 1 << 14];
    // SAFETY: the buffer is as long as is said.
    let len = unsafe { torch_ext_settings(buffer.as_mut_ptr().cast(), buffer.len()) };
    let text = String::from_utf8_lossy(buffer.get(..len)?).into_owned();
    let value = |word: &str| word.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    text.rsplit("Build settings:").next()?.split(',').find_map(value)
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn libtorch_names_the_version_that_tch_binds() {
        assert_eq!(setting("TORCH_VERSION").as_deref(), Some("2.11.0"));
        assert_eq!(setting("TORCH"), None);
    }
}
