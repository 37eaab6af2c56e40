//! What a wheel requires: the lines `Requires-Dist` of its METADATA (PEP 508), with their markers.

use crate::wheel::{Platform, normalised};

/// A package that another needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// In its normal form.
    pub(crate) name: String,
    pub(crate) extras: Vec<String>,
    /// `==13.0.2`, `<14,>=13.0.3`.
    pub(crate) specifiers: String,
    marker: Option<String>,
}

/// Returns the requirements that METADATA lists for a platform and these extras.
pub(crate) fn of_metadata(text: &str, platform: &Platform, extras: &[String]) -> Vec<Requirement> {
    let headers = text.lines().take_while(|line| !line.trim().is_empty());
    let listed =
        headers.filter_map(|line| line.strip_prefix("Requires-Dist:")).filter_map(Requirement::parse);
    listed.filter(|requirement| requirement.is_for(platform, extras)).collect()
}

impl Requirement {
    /// Reads `cuda-toolkit[cublas,cudart]==13.0.2; platform_system == "Linux"`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (text, marker) = match text.split_once(';') {
            Some((text, marker)) => (text.trim(), Some(marker.trim().to_owned())),
            None => (text.trim(), None),
        };
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let (extras, rest) = match rest.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((extras, rest)) => {
                (extras.split(',').map(normalised).filter(|extra| !extra.is_empty()).collect(), rest)
            }
            None => (Vec::new(), rest),
        };
        let specifiers = rest.trim().trim_start_matches('(').trim_end_matches(')').trim().to_owned();
        (!name.is_empty()).then(|| Self { name: normalised(name), extras, specifiers, marker })
    }

    fn is_for(&self, platform: &Platform, extras: &[String]) -> bool {
        let Some(marker) = &self.marker else { return true };
        // Without extras a marker is read once, with none.
        let none = [String::new()];
        let extras = if extras.is_empty() { &none[..] } else { extras };
        extras.iter().any(|extra| Marker { rest: marker, platform, extra }.or().unwrap_or(false))
    }
}

/// A marker that is being read: `platform_system == "Linux" and extra == "cublas"`.
struct Marker<'a> {
    rest: &'a str,
    platform: &'a Platform,
    extra: &'a str,
}

impl Marker<'_> {
    fn or(&mut self) -> Option<bool> {
        let mut value = self.and()?;
        while self.takes("or") {
            value |= self.and()?;
        }
        Some(value)
    }

    fn and(&mut self) -> Option<bool> {
        let mut value = self.comparison()?;
        while self.takes("and") {
            value &= self.comparison()?;
        }
        Some(value)
    }

    fn comparison(&mut self) -> Option<bool> {
        if self.takes("(") {
            let value = self.or()?;
            return self.takes(")").then_some(value);
        }
        let left = self.operand()?;
        let operator =
            ["not in", "in", "==", "!=", ">=", "<=", ">", "<"].into_iter().find(|text| self.takes(text))?;
        let right = self.operand()?;
        let versions = || Some((numbers(&left)?, numbers(&right)?));
        Some(match operator {
            "==" => left == right,
            "!=" => left != right,
            "in" => right.contains(&left),
            "not in" => !right.contains(&left),
            ">=" => versions()?.0 >= versions()?.1,
            "<=" => versions()?.0 <= versions()?.1,
            ">" => versions()?.0 > versions()?.1,
            _ => versions()?.0 < versions()?.1,
        })
    }

    /// A text in quotes, or a variable. Python's version is the newest that PyTorch knows: no wheel's libraries depend on it.
    fn operand(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        if let Some(quote @ ('"' | '\'')) = self.rest.chars().next() {
            let (text, rest) = self.rest[1..].split_once(quote)?;
            self.rest = rest;
            return Some(text.to_owned());
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let is_linux = self.platform.os == "linux";
        Some(
            match name {
                "platform_system" => {
                    if is_linux {
                        "Linux"
                    } else {
                        "Darwin"
                    }
                }
                "sys_platform" => {
                    if is_linux {
                        "linux"
                    } else {
                        "darwin"
                    }
                }
                "os_name" => "posix",
                "platform_machine" => self.platform.machine(),
                "platform_python_implementation" | "implementation_name" => "CPython",
                "python_version" | "python_full_version" => "3.14",
                "extra" => self.extra,
                _ => return None,
            }
            .to_owned(),
        )
    }

    fn takes(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(text) else { return false };
        let is_word = text.ends_with(|c: char| c.is_ascii_alphabetic());
        if is_word && rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return false;
        }
        self.rest = rest;
        true
    }
}

fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = "Metadata-Version: 2.4\nName: torch\nRequires-Dist: filelock\n\
        Requires-Dist: cuda-toolkit[cublas,cudart]==13.0.2; platform_system == \"Linux\"\n\
        Requires-Dist: cuda-bindings<14,>=13.0.3; platform_system == \"Linux\"\n\
        Requires-Dist: nvidia-nccl-cu12 (==2.27.5) ; platform_system == 'Linux' and platform_machine == 'x86_64'\n\
        Requires-Dist: old; python_version < \"3.9\" or (sys_platform == \"win32\" and os_name != \"nt\")\n\
        Requires-Dist: optree>=0.13.0; extra == \"optree\"\n\nRequires-Dist: text\n";

    fn names(platform: &Platform, extras: &[&str]) -> Vec<String> {
        let extras: Vec<String> = extras.iter().map(|&extra| extra.to_owned()).collect();
        of_metadata(METADATA, platform, &extras).into_iter().map(|requirement| requirement.name).collect()
    }

    #[test]
    fn markers_choose_by_platform_and_extra() {
        let x86 = Platform { os: "linux", arch: "x86_64", glibc: Some((2, 31)) };
        let arm = Platform { arch: "aarch64", ..x86 };
        let mac = Platform { os: "macos", arch: "aarch64", glibc: None };
        assert_eq!(names(&x86, &[]), ["filelock", "cuda-toolkit", "cuda-bindings", "nvidia-nccl-cu12"]);
        assert_eq!(names(&arm, &[]), ["filelock", "cuda-toolkit", "cuda-bindings"]);
        assert_eq!(names(&mac, &["optree"]), ["filelock", "optree"]);
    }

    #[test]
    fn names_extras_and_versions_are_told_apart() {
        let parsed = Requirement::parse(" CUDA_Toolkit [cublas, cudart] (==13.0.*) ").unwrap();
        assert_eq!(
            (parsed.name.as_str(), parsed.specifiers.as_str(), parsed.extras.join("+").as_str()),
            ("cuda-toolkit", "==13.0.*", "cublas+cudart")
        );
    }
}
