//! What programs of a package may ask of a machine: no more than Linux distributions of 2018 and later have.

use std::path::Path;

use anyhow::{Result, bail};
use xtask::output::say;

use super::elf::{Elf, numbers};
use super::files::below;

/// The newest symbols that glibc 2.28 and the libstdc++ and libgcc of GCC 8 have (Debian 10, RHEL 8).
const NEWEST: [(&str, &str); 4] =
    [("GLIBC", "2.28"), ("GLIBCXX", "3.4.25"), ("CXXABI", "1.3.11"), ("GCC", "7.0.0")];

/// Libraries that a machine has: glibc's, and GCC's for C++, which every distribution's package manager needs.
pub(crate) const OF_THE_MACHINE: [&str; 9] = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
];

/// Libraries that a wheel finds in the PyTorch beside it.
pub(crate) const OF_PYTORCH: [&str; 2] = ["libc10.so", "libtorch_cpu.so"];

/// Checks every program and library below `dir`, and says what each asks for. Libraries `beside` it are there too.
///
/// # Errors
/// With all that asks for too much: symbols that are too new, libraries that are neither the machine's nor in `dir`.
pub(crate) fn check(dir: &Path, beside: &[&str]) -> Result<()> {
    let files = below(dir)?;
    let names = files.iter().filter_map(|path| path.file_name()?.to_str());
    let names: Vec<&str> = names.chain(beside.iter().copied()).collect();
    let mut faults = Vec::new();
    let mut count = 0;
    for path in &files {
        let Some(elf) = Elf::read(path)? else { continue };
        count += 1;
        let name = path.strip_prefix(dir).unwrap_or(path).display().to_string();
        let highest =
            NEWEST.map(|(set, _)| elf.highest(set).map(|version| format!("{set}_{}", dotted(&version))));
        say(&format!("{name}: {}", highest.into_iter().flatten().collect::<Vec<_>>().join(" ")));
        faults.extend(too_much(&elf, &names).into_iter().map(|fault| format!("`{name}` {fault}")));
    }
    if count == 0 {
        bail!("`{}` holds no program", dir.display());
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n       "));
    }
    Ok(())
}

/// Lists what a file asks for and a machine need not have.
fn too_much(elf: &Elf, packaged: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for (set, newest) in NEWEST {
        if let Some(version) = elf.highest(set)
            && numbers(newest).is_some_and(|newest| version > newest)
        {
            faults.push(format!(
                "asks for {set}_{}; a package may ask for {set}_{newest} at most",
                dotted(&version)
            ));
        }
    }
    let is_there =
        |library: &String| OF_THE_MACHINE.contains(&library.as_str()) || packaged.contains(&library.as_str());
    let missing = elf.needed.iter().filter(|library| !is_there(library));
    faults.extend(
        missing
            .map(|library| format!("is linked to `{library}`, which is neither the machine's nor packaged")),
    );
    let foreign =
        elf.search.iter().flat_map(|path| path.split(':')).filter(|dir| !dir.starts_with("$ORIGIN"));
    faults
        .extend(foreign.map(|dir| {
            format!("looks for libraries in `{dir}`, a directory of the machine it was built on")
        }));
    faults
}

fn dotted(version: &[u32]) -> String {
    version.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn elf(needed: &[&str], versions: &[&str], search: &[&str]) -> Elf {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Elf { needed: owned(needed), versions: owned(versions), search: owned(search) }
    }

    #[test]
    fn symbols_libraries_and_directories_that_a_machine_need_not_have_are_named() {
        let packaged = ["libtorch_cpu.so"];
        let fine =
            elf(&["libc.so.6", "libtorch_cpu.so"], &["GLIBC_2.28", "GLIBCXX_3.4.25"], &["$ORIGIN/../lib"]);
        assert_eq!(too_much(&fine, &packaged), Vec::<String>::new());
        let bad = elf(
            &["libssl.so.3", "libtorch_cpu.so"],
            &["GLIBC_2.34", "GLIBCXX_3.4.29"],
            &["$ORIGIN:/home/me/lib"],
        );
        let faults = too_much(&bad, &[]).join("\n");
        for word in ["GLIBC_2.34", "GLIBCXX_3.4.29", "`libssl.so.3`", "`libtorch_cpu.so`", "`/home/me/lib`"] {
            assert!(faults.contains(word), "{word}: {faults}");
        }
    }

    #[test]
    fn a_directory_without_programs_is_no_package() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("finetune"), "text").unwrap();
        assert!(check(dir.path(), &[]).unwrap_err().to_string().contains("holds no program"));
    }
}
