//! The shared libraries that a program needs and a machine need not have.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::output::note;
use xtask::process::succeeds;

use super::elf::Elf;
use super::limits::OF_THE_MACHINE;

/// Copies the libraries of `torch`, and of NVIDIA's packages beside it, that `program` is linked to, and those that they are
/// linked to, without their tables of symbols for debuggers. Returns whether one of them is NVIDIA's.
///
/// # Errors
/// When one is found nowhere.
pub(crate) fn copy(program: &Path, torch: &Path, into: &Path) -> Result<bool> {
    let (lib, nvidia) = (torch.join("lib"), torch.join("../nvidia"));
    let packages =
        fs::read_dir(&nvidia).into_iter().flatten().flatten().map(|entry| entry.path().join("lib"));
    let places: Vec<PathBuf> = std::iter::once(lib.clone()).chain(packages).collect();
    fs::create_dir_all(into).with_context(|| format!("cannot create `{}`", into.display()))?;
    let (mut open, mut seen, mut with_nvidia) = (needed(program)?, BTreeSet::new(), false);
    while let Some(name) = open.pop() {
        if OF_THE_MACHINE.contains(&name.as_str()) || !seen.insert(name.clone()) {
            continue;
        }
        let found = places.iter().map(|place| place.join(&name)).find(|path| path.is_file());
        let from = found.with_context(|| {
            format!("`{name}` is neither in `{}` nor in NVIDIA's packages beside it", lib.display())
        })?;
        with_nvidia |= !from.starts_with(&lib);
        let to = into.join(&name);
        fs::copy(&from, &to).with_context(|| format!("cannot copy `{}`", from.display()))?;
        if !succeeds(Command::new("strip").arg("--strip-unneeded").arg(&to)) {
            note(&format!("`{name}` keeps its symbols: `strip` is missing or fails"));
        }
        open.extend(needed(&from)?);
    }
    Ok(with_nvidia)
}

fn needed(path: &Path) -> Result<Vec<String>> {
    Ok(Elf::read(path)?.with_context(|| format!("`{}` is no program", path.display()))?.needed)
}
