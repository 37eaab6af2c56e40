//! Paths of the checkout, and calls of cargo.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{capture, run_to_stderr};

/// The checkout that this program belongs to.
#[derive(Debug)]
pub struct Workspace {
    /// Its directory.
    pub root: PathBuf,
}

impl Workspace {
    /// Finds the checkout: cargo names the directory of the package it runs.
    ///
    /// # Errors
    /// When no parent directory holds `xtask`.
    pub fn find() -> Result<Self> {
        let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let has_xtask = |dir: &&Path| dir.join("xtask/Cargo.toml").exists();
        let root = manifest_dir.ancestors().find(has_xtask);
        Ok(Self {
            root: root.context("not inside a checkout: no parent directory holds `xtask`")?.to_owned(),
        })
    }

    /// Returns a path in the checkout.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Returns a program that runs in the root of the checkout.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Returns the cargo that runs this program.
    pub fn cargo(&self) -> Command {
        let mut command = self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        if self.users_libtorch().is_none() {
            // The inner cargo sets it again, to exactly what a cargo called by hand sees: no crate is built twice.
            command.env_remove("LIBTORCH");
        }
        // `cargo xtask` tells this program of its own package, and build scripts may ask for theirs by the same names (ring's does).
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_package(name)) {
            command.env_remove(name);
        }
        command
    }

    /// Returns the libtorch of `cargo xtask setup`.
    pub fn own_libtorch(&self) -> PathBuf {
        self.path(".libtorch/torch")
    }

    /// Returns `LIBTORCH`, where the user set it; `.cargo/config.toml` sets it to [`Self::own_libtorch`] otherwise.
    pub fn users_libtorch(&self) -> Option<PathBuf> {
        users_libtorch(&self.own_libtorch(), std::env::var_os("LIBTORCH").map(PathBuf::from))
    }

    /// Returns the directory of release binaries, built first; those of a prebuilt directory where `BIN` names one.
    ///
    /// # Errors
    /// When they cannot be built.
    pub fn release_binaries(&self) -> Result<PathBuf> {
        if let Some(bin) = std::env::var_os("BIN") {
            return std::path::absolute(bin).context("cannot resolve BIN");
        }
        run_to_stderr(self.cargo().args(["build", "--release", "--package", "cli", "--package", "benches"]))?;
        Ok(self.target_dir()?.join("release"))
    }

    /// Returns the directory of release binaries with these programs of `cli` in it, which alone are built; a prebuilt directory
    /// where `BIN` names one.
    ///
    /// # Errors
    /// When they cannot be built.
    pub fn release_programs(&self, programs: &[&str]) -> Result<PathBuf> {
        if std::env::var_os("BIN").is_none() {
            let mut build = self.cargo();
            build.args(["build", "--release", "--package", "cli"]);
            run_to_stderr(build.args(programs.iter().flat_map(|program| ["--bin", program])))?;
        }
        self.prebuilt_binaries()
    }

    /// Returns the directory of release binaries that were built before; builds nothing.
    ///
    /// # Errors
    /// When cargo does not say where it builds.
    pub fn prebuilt_binaries(&self) -> Result<PathBuf> {
        match std::env::var_os("BIN") {
            Some(bin) => std::path::absolute(bin).context("cannot resolve BIN"),
            None => Ok(self.target_dir()?.join("release")),
        }
    }

    /// Returns cargo's target directory.
    ///
    /// # Errors
    /// When cargo does not say.
    pub fn target_dir(&self) -> Result<PathBuf> {
        #[derive(Deserialize)]
        struct Metadata {
            target_directory: PathBuf,
        }
        let text = capture(self.cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: Metadata = serde_json::from_str(&text).context("cannot read `cargo metadata`")?;
        Ok(metadata.target_directory)
    }
}

/// Tells whether cargo sets a variable for the package that it runs.
fn is_of_package(name: &OsStr) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    name.to_str()
        .is_some_and(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "OUT_DIR")
}

fn users_libtorch(own: &Path, from_env: Option<PathBuf>) -> Option<PathBuf> {
    from_env.filter(|path| path.components().ne(own.components()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_of_the_package_that_runs_is_told_from_settings() {
        let of_package = |name: &str| is_of_package(OsStr::new(name));
        // What cargo has set for this test.
        assert!(std::env::vars_os().any(|(name, _)| is_of_package(&name)));
        assert!(of_package("CARGO_PKG_NAME") && of_package("CARGO_MANIFEST_DIR"));
        for setting in
            ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_PROFILE_DEV_DEBUG", "LIBTORCH", "PATH"]
        {
            assert!(!of_package(setting), "{setting}");
        }
    }

    #[test]
    fn the_default_of_cargos_configuration_is_not_the_users() {
        let own = Path::new("/clone/.libtorch/torch");
        assert_eq!(users_libtorch(own, Some("/clone/.libtorch/torch/".into())), None);
        assert_eq!(users_libtorch(own, None), None);
        assert_eq!(users_libtorch(own, Some("/opt/torch".into())), Some("/opt/torch".into()));
    }
}
