//! What packages are made of.

use std::path::PathBuf;

/// The program that is all of them.
pub(crate) const ALL_IN_ONE: &str = "llama-ft";

/// What packages are made of.
#[derive(Debug)]
pub(crate) struct Built {
    /// [`ALL_IN_ONE`].
    pub(crate) program: PathBuf,
    /// Directory of `completions` and `man`.
    pub(crate) manuals: PathBuf,
    /// Directory `torch` of libtorch.
    pub(crate) torch: PathBuf,
}
