//! Programs that building needs, and how to get those that are missing.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::succeeds;

/// Checks that there is a C++ compiler.
///
/// # Errors
/// With how to get one.
pub(crate) fn check() -> Result<()> {
    if has_cxx() {
        return Ok(());
    }
    bail!(
        "a C++ compiler is missing (tried $CXX, c++, g++ and clang++): {}",
        get("g++", "gcc-c++", "xcode-select --install")
    )
}

/// Checks for the compiler that crate `cc` will call, or one that could be named to it.
pub(crate) fn has_cxx() -> bool {
    let named = std::env::var("CXX").ok().filter(|name| !name.is_empty());
    let known = ["c++", "g++", "clang++"].map(str::to_owned);
    named.into_iter().chain(known).any(|name| succeeds(Command::new(name).arg("--version")))
}

/// Returns the command that installs a package.
fn get(debian: &str, fedora: &str, macos: &str) -> String {
    if cfg!(target_os = "macos") {
        return macos.to_owned();
    }
    format!("`apt-get install {debian}` (Debian, Ubuntu) or `dnf install {fedora}` (Fedora)")
}
