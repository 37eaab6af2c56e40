//! What a program or library asks of the machine it runs on.

use std::path::Path;

use anyhow::{Context, Result};
use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64, VER_FLG_WEAK};
use object::read::elf::{Dyn, FileHeader};

/// First bytes of every ELF file.
const MAGIC: &[u8] = b"\x7fELF";

/// The part of an ELF file that the dynamic linker reads.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    /// Libraries it is linked to.
    pub(crate) needed: Vec<String>,
    /// Directories in which it has them looked for first.
    pub(crate) search: Vec<String>,
    /// Versions of symbols that have to be there: `GLIBC_2.28`.
    pub(crate) versions: Vec<String>,
}

impl Elf {
    /// Reads a file; `None` where it is no ELF file.
    ///
    /// # Errors
    /// When it cannot be read, or is a damaged or 32-bit one.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        if !bytes.starts_with(MAGIC) {
            return Ok(None);
        }
        Self::parse(&bytes).map(Some).with_context(|| format!("`{}` is no sound ELF file", path.display()))
    }

    fn parse(data: &[u8]) -> object::Result<Self> {
        let header = FileHeader64::<Endianness>::parse(data)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, data)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut elf = Self::default();
        if let Some((entries, link)) = sections.dynamic(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            for entry in entries {
                let list = match entry.tag(endian) {
                    DT_NEEDED => &mut elf.needed,
                    DT_RPATH | DT_RUNPATH => &mut elf.search,
                    _ => continue,
                };
                list.push(text(entry.string(endian, strings)?));
            }
        }
        if let Some((mut files, link)) = sections.gnu_verneed(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            while let Some((_, mut versions)) = files.next()? {
                while let Some(version) = versions.next()? {
                    // Where all that asks for a version can do without, the dynamic linker lets it be absent.
                    if !version.vna_flags.get(endian).contains(VER_FLG_WEAK) {
                        elf.versions.push(text(version.name(endian, strings)?));
                    }
                }
            }
        }
        Ok(elf)
    }

    /// Returns the highest version of a set of symbols, such as `GLIBC`.
    pub(crate) fn highest(&self, set: &str) -> Option<Vec<u32>> {
        self.versions
            .iter()
            .filter_map(|version| numbers(version.strip_prefix(set)?.strip_prefix('_')?))
            .max()
    }
}

/// Parses `2.28`; `None` for what is no number, such as `PRIVATE`.
pub(crate) fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_a_program_asks_for_is_what_readelf_reads() {
        let program = std::env::current_exe().unwrap();
        let elf = Elf::read(&program).unwrap().unwrap();
        assert!(elf.needed.iter().any(|library| library.starts_with("libc.so")), "{:?}", elf.needed);
        let Ok(output) = Command::new("readelf").args(["-dVW"]).arg(&program).output() else {
            eprintln!("skipped: what_a_program_asks_for_is_what_readelf_reads needs readelf");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let needed: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("(NEEDED)"))
            .filter_map(|line| line.split(['[', ']']).nth(1))
            .collect();
        assert_eq!(elf.needed, needed);
        let strong = said.lines().filter(|line| line.contains("Flags: none"));
        let mut versions: Vec<&str> = strong
            .filter_map(|line| line.split_once("Name: ")?.1.split_whitespace().next())
            .filter(|name| name.contains('_'))
            .collect();
        let mut ours = elf.versions.clone();
        versions.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, versions);
    }

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        let elf = |versions: &[&str]| Elf {
            versions: versions.iter().map(|&version| version.to_owned()).collect(),
            ..Elf::default()
        };
        let elf = elf(&["GLIBC_2.4", "GLIBC_2.28", "GLIBC_PRIVATE", "GLIBCXX_3.4.9"]);
        assert_eq!(elf.highest("GLIBC"), Some(vec![2, 28]));
        assert_eq!(elf.highest("GLIBCXX"), Some(vec![3, 4, 9]));
        assert_eq!(elf.highest("CXXABI"), None);
    }

    #[test]
    fn what_is_no_program_is_none() {
        assert_eq!(Elf::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).unwrap(), None);
    }
}
