//! Names of wheels, and the platforms that they are for.

use crate::error::GetError;
use crate::version::Version;

/// The oldest glibc that PyTorch's wheels run on.
const OLDEST_GLIBC: (u32, u32) = (2, 28);

/// The kind of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// As in `std::env::consts::OS`.
    pub os: &'static str,
    /// As in `std::env::consts::ARCH`.
    pub arch: &'static str,
    /// The C library's version, on Linux.
    pub glibc: Option<(u32, u32)>,
}

impl Platform {
    /// Returns this machine's.
    ///
    /// # Errors
    /// When PyTorch has no wheel for it.
    pub fn of_this_machine() -> Result<Self, GetError> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let platform = Self { os, arch, glibc: if os == "linux" { glibc() } else { None } };
        match (os, arch) {
            ("linux", "x86_64" | "aarch64") | ("macos", "aarch64") if !cfg!(target_env = "musl") => {}
            _ => return Err(GetError::Platform { os, arch }),
        }
        match platform.glibc {
            Some((major, minor)) if (major, minor) < OLDEST_GLIBC => {
                Err(GetError::Glibc { actual: format!("{major}.{minor}") })
            }
            _ => Ok(platform),
        }
    }

    /// Returns the processor's name as wheels have it.
    pub(crate) fn machine(&self) -> &'static str {
        if self.os == "macos" && self.arch == "aarch64" { "arm64" } else { self.arch }
    }

    /// Tells if one of the tags of a wheel, joined by `.`, is for this kind of machine.
    fn fits(&self, tags: &str) -> bool {
        tags.split('.').any(|tag| self.fits_one(tag))
    }

    fn fits_one(&self, tag: &str) -> bool {
        let Some(tag) = tag.strip_suffix(self.machine()).map(|tag| tag.trim_end_matches('_')) else {
            return tag == "any";
        };
        if self.os == "macos" {
            return tag.starts_with("macosx_");
        }
        let needed = match tag {
            "linux" => return true,
            "manylinux1" => (2, 5),
            "manylinux2010" => (2, 12),
            "manylinux2014" => (2, 17),
            _ => {
                let numbers = tag.strip_prefix("manylinux_").and_then(|rest| rest.split_once('_'));
                let Some((Ok(major), Ok(minor))) =
                    numbers.map(|(major, minor)| (major.parse(), minor.parse()))
                else {
                    return false;
                };
                (major, minor)
            }
        };
        // Where the C library does not say its version, the linker will.
        self.glibc.is_none_or(|glibc| needed <= glibc)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} on {}", self.os, self.machine())?;
        match self.glibc {
            Some((major, minor)) => write!(formatter, " with glibc {major}.{minor}"),
            None => Ok(()),
        }
    }
}

/// Asks the system's own programs for the version of its C library.
fn glibc() -> Option<(u32, u32)> {
    let ask = |program: &str, argument: &str| {
        let output = std::process::Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        parse_glibc(text.lines().next()?)
    };
    ask("getconf", "GNU_LIBC_VERSION").or_else(|| ask("ldd", "--version"))
}

/// Reads `glibc 2.31`, or `ldd (Ubuntu GLIBC 2.31-0ubuntu9.9) 2.31`.
fn parse_glibc(line: &str) -> Option<(u32, u32)> {
    let (major, minor) = line.split_whitespace().next_back()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The parts of a wheel's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WheelName {
    /// Normalised.
    pub(crate) project: String,
    pub(crate) version: Version,
    python: String,
    abi: String,
    platforms: String,
}

impl WheelName {
    /// Reads `torch-2.11.0+cu126-cp310-cp310-manylinux_2_28_x86_64.whl`; `None` for another kind of file.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        let mut parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
        if parts.len() == 6 {
            // The number of a build that replaced another.
            parts.remove(2);
        }
        let [project, version, python, abi, platforms] = parts[..] else { return None };
        Some(Self {
            project: normalised(project),
            version: Version::parse(version)?,
            python: python.to_owned(),
            abi: abi.to_owned(),
            platforms: platforms.to_owned(),
        })
    }

    pub(crate) fn fits(&self, platform: &Platform) -> bool {
        platform.fits(&self.platforms)
    }

    /// Sorts wheels that are for different Pythons and otherwise the same: the oldest ordinary one first.
    pub(crate) fn python_order(&self) -> (bool, u32) {
        let digits: String = self.python.chars().filter(char::is_ascii_digit).collect();
        (self.abi.ends_with('t'), digits.parse().unwrap_or(u32::MAX))
    }
}

/// Returns a name in its normal form (PEP 503).
pub(crate) fn normalised(name: &str) -> String {
    let words = name.trim().split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UBUNTU_20: Platform = Platform { os: "linux", arch: "x86_64", glibc: Some((2, 31)) };

    #[test]
    fn a_wheel_is_for_the_machines_that_its_tags_name() {
        let fits = |tags: &str, platform: &Platform| {
            WheelName::parse(&format!("torch-2.11.0-cp310-cp310-{tags}.whl")).unwrap().fits(platform)
        };
        let debian_9 = Platform { glibc: Some((2, 24)), ..UBUNTU_20 };
        let mac = Platform { os: "macos", arch: "aarch64", glibc: None };
        for tags in [
            "manylinux_2_28_x86_64",
            "manylinux2014_x86_64.manylinux_2_17_x86_64",
            "linux_x86_64",
            "any",
            "win_amd64.any",
        ] {
            assert!(fits(tags, &UBUNTU_20), "{tags}");
        }
        for tags in [
            "manylinux_2_34_x86_64",
            "manylinux_2_28_aarch64",
            "musllinux_1_2_x86_64",
            "win_amd64",
            "macosx_11_0_arm64",
        ] {
            assert!(!fits(tags, &UBUNTU_20), "{tags}");
        }
        assert!(!fits("manylinux_2_28_x86_64", &debian_9) && fits("manylinux2014_x86_64", &debian_9));
        assert!(fits("macosx_11_0_arm64", &mac) && !fits("macosx_10_9_x86_64", &mac));
    }

    #[test]
    fn names_are_read_in_all_their_forms() {
        let name = WheelName::parse("nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl").unwrap();
        assert_eq!(name.project, "nvidia-cublas");
        assert_eq!(WheelName::parse("torch-2.11.0-1-cp310-cp310-any.whl").unwrap().python, "cp310");
        assert!(WheelName::parse("torch-2.11.0.tar.gz").is_none() && WheelName::parse("torch.whl").is_none());
        let mut names = ["cp313-cp313t", "cp313-cp313", "cp310-cp310", "cp314-cp314"]
            .map(|tags| WheelName::parse(&format!("torch-2.11.0-{tags}-any.whl")).unwrap());
        names.sort_by_key(WheelName::python_order);
        assert_eq!((names[0].python.as_str(), names[3].abi.as_str()), ("cp310", "cp313t"));
    }

    #[test]
    fn glibc_says_its_version_in_either_way() {
        assert_eq!(parse_glibc("glibc 2.36"), Some((2, 36)));
        assert_eq!(parse_glibc("ldd (Ubuntu GLIBC 2.31-0ubuntu9.9) 2.31"), Some((2, 31)));
        assert_eq!(parse_glibc("musl libc"), None);
    }
}
