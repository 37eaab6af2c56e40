//! One call of a program that fails, or is its last.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const SOURCE: &str = include_str!("preload.c");

/// The library that lets calls fail.
#[derive(Debug)]
pub(crate) struct Preload(PathBuf);

/// A fault that hits one call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CallFault {
    /// `write`, `sync` or `rename`.
    pub(crate) call: &'static str,
    /// The number of the call, from 1.
    pub(crate) at: u64,
    /// As `preload.c` has them.
    pub(crate) effect: String,
}

/// Everything that may happen to a call. Numbers are of `errno`.
const EFFECTS: [(&str, &str); 12] = [
    ("write", "kill"),
    ("write", "torn"),
    ("write", "short"),
    ("write", "intr"),
    ("write", "ENOSPC"),
    ("write", "EFBIG"),
    ("write", "EIO"),
    ("sync", "kill"),
    ("sync", "EIO"),
    ("rename", "kill"),
    ("rename", "EIO"),
    ("rename", "ENOSPC"),
];

impl CallFault {
    /// Returns the `index`-th kind of fault, at the call `at`.
    pub(crate) fn new(index: usize, at: u64) -> Self {
        let (call, effect) = EFFECTS[index % EFFECTS.len()];
        let effect = match effect {
            "ENOSPC" => libc::ENOSPC.to_string(),
            "EFBIG" => libc::EFBIG.to_string(),
            "EIO" => libc::EIO.to_string(),
            other => other.to_owned(),
        };
        Self { call, at, effect }
    }

    pub(crate) fn kind(&self) -> String {
        let names = [(libc::ENOSPC, "ENOSPC"), (libc::EFBIG, "EFBIG"), (libc::EIO, "EIO")];
        let name = names.iter().find(|(number, _)| number.to_string() == self.effect);
        format!("{} {}", self.call, name.map_or(self.effect.as_str(), |(_, name)| name))
    }
}

impl Preload {
    /// Compiles the library into `dir`.
    pub(crate) fn build(dir: &Path) -> Result<Self> {
        let (source, library) = (dir.join("preload.c"), dir.join("preload.so"));
        std::fs::write(&source, SOURCE)?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let status = Command::new(&compiler)
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .status()
            .with_context(|| format!("cannot run the C compiler `{}`", compiler.display()))?;
        if !status.success() {
            bail!("the C compiler `{}` failed: {status}", compiler.display());
        }
        Ok(Self(library))
    }

    pub(crate) fn apply(&self, command: &mut Command, fault: &CallFault) {
        command.env("LD_PRELOAD", &self.0).env("FAULT_CALL", fault.call);
        command.env("FAULT_AT", fault.at.to_string()).env("FAULT_EFFECT", &fault.effect);
    }

    /// Lets the wall clock jump an hour ahead and back all the time.
    pub(crate) fn jump_clock(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.0).env("FAULT_CLOCK", "3600");
    }
}
