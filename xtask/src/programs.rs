//! Programs that the set-up needs, and how to get those that are missing.

use std::process::Command;

use crate::process::{probe, succeeds};
use crate::python::PYTHON;

/// The oldest Python that PyTorch 2.11.0 has a package for.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// Returns a sentence for each program that is missing. pip is asked for only where something has to be installed.
pub(crate) fn missing(needs_pip: bool) -> Vec<String> {
    let mut missing = Vec::new();
    if needs_pip {
        missing.extend(missing_python());
    }
    if !has_cxx() {
        missing.push(format!(
            "a C++ compiler is missing (tried $CXX, c++, g++ and clang++): {}",
            get("g++", "gcc-c++", "xcode-select --install")
        ));
    }
    missing
}

fn missing_python() -> Option<String> {
    let version = "import sys; print('%d.%d' % sys.version_info[:2])";
    let Some((true, version)) = probe(Command::new(PYTHON).args(["-c", version])) else {
        return Some(format!(
            "python3 is missing (its pip fetches libtorch): {}",
            get("python3 python3-pip", "python3 python3-pip", "brew install python")
        ));
    };
    if parse_version(&version).is_some_and(|version| version < OLDEST_PYTHON) {
        let (major, minor) = OLDEST_PYTHON;
        return Some(format!(
            "python3 is version {version}; expected at least {major}.{minor}, for which PyTorch has packages: put a newer \
             python3 first in PATH"
        ));
    }
    (!succeeds(Command::new(PYTHON).args(["-m", "pip", "--version"]))).then(|| {
        format!(
            "pip is missing (`python3 -m pip` fails): {}",
            get("python3-pip", "python3-pip", "python3 -m ensurepip")
        )
    })
}

/// Checks for the compiler that crate `cc` will call, or one that could be named to it.
fn has_cxx() -> bool {
    let named = std::env::var("CXX").ok().filter(|name| !name.is_empty());
    let known = ["c++", "g++", "clang++"].map(str::to_owned);
    named.into_iter().chain(known).any(|name| succeeds(Command::new(name).arg("--version")))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns the command that installs a package.
fn get(debian: &str, fedora: &str, macos: &str) -> String {
    if cfg!(target_os = "macos") {
        return macos.to_owned();
    }
    format!("`apt-get install {debian}` (Debian, Ubuntu) or `dnf install {fedora}` (Fedora)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(parse_version("3.9").unwrap() < OLDEST_PYTHON);
        assert!(parse_version("3.11\n").unwrap() > OLDEST_PYTHON);
        assert_eq!(parse_version("three"), None);
    }
}
