//! One call of a program that fails, or is its last.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::dice::Dice;

const SOURCE: &str = include_str!("preload.c");

/// The library that lets calls fail.
#[derive(Debug)]
pub(crate) struct Preload(PathBuf);

/// A fault that hits one call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CallFault {
    /// `read`, `write`, `sync`, `rename`, `recv` or `send`.
    pub(crate) call: &'static str,
    /// The number of the call, from 1.
    pub(crate) at: u64,
    /// As `preload.c` has them, errors by name.
    pub(crate) effect: &'static str,
}

/// Everything that may happen to a call on a file.
pub(crate) const OF_FILES: &[(&str, &str)] = &[
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
    ("read", "short"),
    ("read", "intr"),
    ("read", "EIO"),
];

/// Everything that may happen to a call on a connection that never waits; such a call is not interrupted.
pub(crate) const OF_SOCKETS: &[(&str, &str)] =
    &[("send", "short"), ("send", "ECONNRESET"), ("recv", "short"), ("recv", "ECONNRESET")];

/// Errors by name.
const ERRORS: [(&str, libc::c_int); 4] =
    [("ENOSPC", libc::ENOSPC), ("EFBIG", libc::EFBIG), ("EIO", libc::EIO), ("ECONNRESET", libc::ECONNRESET)];

impl CallFault {
    /// Draws a kind of fault, at one of the first `calls` calls of its kind.
    pub(crate) fn draw(kinds: &[(&'static str, &'static str)], calls: u64, dice: &mut Dice) -> Self {
        let (call, effect) = kinds[dice.below(kinds.len() as u64) as usize];
        Self { call, at: 1 + dice.below(calls), effect }
    }

    pub(crate) fn kind(&self) -> String {
        format!("{} {}", self.call, self.effect)
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
        let error = ERRORS.iter().find(|(name, _)| *name == fault.effect);
        let effect = error.map_or_else(|| fault.effect.to_owned(), |(_, number)| number.to_string());
        command.env("FAULT_AT", fault.at.to_string()).env("FAULT_EFFECT", effect);
    }

    /// Lets the wall clock jump an hour ahead and back all the time.
    pub(crate) fn jump_clock(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.0).env("FAULT_CLOCK", "3600");
    }
}
