//! The libtorch in a directory: its version, and whether it can drive a GPU.

use std::fmt;
use std::path::{Path, PathBuf};

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

/// Checks that a pip directory holds the CUDA libraries that PyTorch needs on a GPU, cuDNN among them. The small set lacks them,
/// though its PyTorch is the same.
pub fn has_cuda_packages(pip_dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(pip_dir) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("nvidia_cudnn"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory that goes when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
            fs::create_dir_all(dir.join("lib")).unwrap();
            Self(dir)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn either_kind_of_directory_states_its_version() {
        let library = format!("lib/libtorch_cpu.{}", std::env::consts::DLL_EXTENSION);
        let package = Scratch::new("package");
        package.write(
            "version.py",
            "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\n",
        );
        package.write(&library, "");
        assert_eq!(check(&package.0), Ok("2.11.0+cu130".to_owned()));
        let archive = Scratch::new("archive");
        archive.write("build-version", "2.11.0+cpu\n");
        archive.write(&library, "");
        assert_eq!(check(&archive.0), Ok("2.11.0+cpu".to_owned()));
    }

    #[test]
    fn anything_else_is_refused_with_what_it_is() {
        let dir = Scratch::new("other");
        let missing = dir.0.join("nowhere");
        assert_eq!(check(&missing), Err(Unfit::Absent { dir: missing.clone() }));
        assert_eq!(check(&dir.0), Err(Unfit::NoVersion { dir: dir.0.clone() }));
        for actual in ["2.11.1", "2.11.0a0+git1", "2.1"] {
            dir.write("version.py", &format!("__version__ = '{actual}'\n"));
            let error = check(&dir.0).unwrap_err();
            assert_eq!(
                error,
                Unfit::OtherVersion { file: dir.0.join("version.py"), actual: actual.to_owned() }
            );
            assert!(
                error.to_string().contains(actual) && error.to_string().contains("expected 2.11.0"),
                "{error}"
            );
        }
        dir.write("version.py", "__version__ = '2.11.0'\n");
        assert!(matches!(check(&dir.0), Err(Unfit::NoLibrary { .. })));
    }

    #[test]
    fn the_small_set_is_told_from_the_full_one() {
        let dir = Scratch::new("sets");
        fs::create_dir(dir.0.join("nvidia_cuda_runtime-13.0.96.dist-info")).unwrap();
        assert!(!has_cuda_packages(&dir.0));
        fs::create_dir(dir.0.join("nvidia_cudnn_cu13-9.15.1.9.dist-info")).unwrap();
        assert!(has_cuda_packages(&dir.0));
    }
}
