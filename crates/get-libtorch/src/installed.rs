//! The libtorch in a directory: its version, and whether it can drive a GPU.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cuda::Build;

/// The one version that the binding `tch` is made for.
pub const VERSION: &str = "2.11.0";

/// The reason why a directory is not the libtorch that is needed.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Nothing there.
    Absent {
        /// The directory.
        dir: PathBuf,
    },
    /// There, but neither of the two files that state a version.
    NoVersion {
        /// The directory.
        dir: PathBuf,
    },
    /// Another version.
    OtherVersion {
        /// The file that states it.
        file: PathBuf,
        /// The version it states.
        actual: String,
    },
    /// A version file without the library.
    NoLibrary {
        /// The missing library.
        file: PathBuf,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { dir } => write!(formatter, "`{}` does not exist", dir.display()),
            Self::NoVersion { dir } => write!(
                formatter,
                "`{}` holds neither `version.py` nor `build-version`; expected the directory `torch` of a PyTorch \
                 {VERSION} or an unpacked libtorch {VERSION}",
                dir.display()
            ),
            Self::OtherVersion { file, actual } => {
                write!(formatter, "`{}` says version {actual}; expected {VERSION}", file.display())
            }
            Self::NoLibrary { file } => {
                write!(formatter, "`{}` does not exist; expected a whole libtorch {VERSION}", file.display())
            }
        }
    }
}

/// Checks that `dir` is a libtorch of [`VERSION`], and returns its full version, such as `2.11.0+cu130`.
///
/// # Errors
/// With what is there instead.
pub fn check(dir: &Path) -> Result<String, Unfit> {
    if !dir.is_dir() {
        return Err(Unfit::Absent { dir: dir.to_owned() });
    }
    let (file, actual) = version(dir).ok_or_else(|| Unfit::NoVersion { dir: dir.to_owned() })?;
    if actual.split('+').next() != Some(VERSION) {
        return Err(Unfit::OtherVersion { file, actual });
    }
    let library = dir.join("lib").join(format!("libtorch_cpu.{}", std::env::consts::DLL_EXTENSION));
    if library.exists() { Ok(actual) } else { Err(Unfit::NoLibrary { file: library }) }
}

/// Returns the version that a Python package (`version.py`) or an unpacked archive (`build-version`) states, and where.
fn version(dir: &Path) -> Option<(PathBuf, String)> {
    let read = |name: &str| {
        let file = dir.join(name);
        std::fs::read_to_string(&file).ok().map(|text| (file, text))
    };
    if let Some((file, text)) = read("version.py") {
        return Some((file, parse_version_py(&text)?));
    }
    read("build-version").map(|(file, text)| (file, text.trim().to_owned()))
}

/// Parses `__version__ = '2.11.0+cu130'` among other lines.
fn parse_version_py(text: &str) -> Option<String> {
    let value =
        text.lines().find_map(|line| line.strip_prefix("__version__")?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches(['\'', '"']).to_owned())
}

/// Returns the build that a version names: `2.11.0+cu130`. Without a name it is that of a system without CUDA packages.
pub fn build_of(version: &str) -> Build {
    let local = version.split_once('+').map(|(_, local)| local);
    local.and_then(|local| local.parse().ok()).unwrap_or(Build::Cpu)
}

/// Checks that a directory of packages holds the CUDA libraries that PyTorch needs on a GPU, cuDNN among them. The small set lacks
/// them, though its PyTorch is the same.
pub fn has_cuda_packages(home: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(home) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("nvidia_cudnn"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Scratch(tempfile::TempDir);

    impl Scratch {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("lib")).unwrap();
            Self(dir)
        }

        fn path(&self) -> PathBuf {
            self.0.path().to_owned()
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }
    }

    #[test]
    fn either_kind_of_directory_states_its_version() {
        let library = format!("lib/libtorch_cpu.{}", std::env::consts::DLL_EXTENSION);
        let package = Scratch::new();
        package.write(
            "version.py",
            "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\n",
        );
        package.write(&library, "");
        assert_eq!(check(&package.path()), Ok("2.11.0+cu130".to_owned()));
        let archive = Scratch::new();
        archive.write("build-version", "2.11.0+cpu\n");
        archive.write(&library, "");
        assert_eq!(check(&archive.path()), Ok("2.11.0+cpu".to_owned()));
        assert_eq!(
            ["2.11.0+cu130", "2.11.0+cpu", "2.11.0"].map(build_of),
            [Build::Cu130, Build::Cpu, Build::Cpu]
        );
    }

    #[test]
    fn anything_else_is_refused_with_what_it_is() {
        let dir = Scratch::new();
        let missing = dir.path().join("nowhere");
        assert_eq!(check(&missing), Err(Unfit::Absent { dir: missing.clone() }));
        assert_eq!(check(&dir.path()), Err(Unfit::NoVersion { dir: dir.path() }));
        for actual in ["2.11.1", "2.11.0a0+git1", "2.1"] {
            dir.write("version.py", &format!("__version__ = '{actual}'\n"));
            let error = check(&dir.path()).unwrap_err();
            assert_eq!(
                error,
                Unfit::OtherVersion { file: dir.path().join("version.py"), actual: actual.to_owned() }
            );
            assert!(
                error.to_string().contains(actual) && error.to_string().contains("expected 2.11.0"),
                "{error}"
            );
        }
        dir.write("version.py", "__version__ = '2.11.0'\n");
        assert!(matches!(check(&dir.path()), Err(Unfit::NoLibrary { .. })));
    }

    #[test]
    fn the_small_set_is_told_from_the_full_one() {
        let dir = Scratch::new();
        fs::create_dir(dir.path().join("nvidia_cuda_runtime-13.0.96.dist-info")).unwrap();
        assert!(!has_cuda_packages(&dir.path()));
        fs::create_dir(dir.path().join("nvidia_cudnn_cu13-9.15.1.9.dist-info")).unwrap();
        assert!(has_cuda_packages(&dir.path()));
    }
}
