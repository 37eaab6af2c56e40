//! `cargo xtask check`: all that is checked without running the code.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::{arrows, book, circles, unsafe_list};
use xtask::output::{note, say};
use xtask::process::{self, succeeds};
use xtask::setup;
use xtask::workspace::Workspace;

/// Answers with the reason when it was skipped.
type Check = fn(&Workspace) -> Result<Option<&'static str>>;

const CHECKS: [(&str, Check); 9] = [
    ("formatting", formatting),
    ("crate arrows", crate_arrows),
    ("file circles", file_circles),
    ("book", the_book),
    ("unsafe code", unsafe_code),
    ("clippy", clippy),
    ("documentation", docs),
    ("licences", licences),
    ("advisories", advisories),
];

/// Runs every check, whatever the ones before it said, and reports each.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    // clippy and rustdoc compile the build scripts of what links libtorch.
    setup::ensure(workspace)?;
    let mut lines = Vec::new();
    let mut all_passed = true;
    for (name, check) in CHECKS {
        let start = Instant::now();
        let verdict = match check(workspace) {
            Ok(None) => "ok".to_owned(),
            Ok(Some(reason)) => format!("skipped: {reason}"),
            Err(error) => {
                note(&format!("error: {error:#}"));
                all_passed = false;
                "FAILED".to_owned()
            }
        };
        lines.push(format!("{name:<14} {:>4.0} s  {verdict}", start.elapsed().as_secs_f64()));
    }
    for line in lines {
        say(&line);
    }
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn formatting(workspace: &Workspace) -> Result<Option<&'static str>> {
    process::run(workspace.cargo().args(["fmt", "--all", "--check"])).map(|()| None)
}

fn crate_arrows(workspace: &Workspace) -> Result<Option<&'static str>> {
    none_of(&arrows::check(&workspace.root)?)
}

fn file_circles(workspace: &Workspace) -> Result<Option<&'static str>> {
    none_of(&circles::check(&workspace.root)?)
}

fn the_book(workspace: &Workspace) -> Result<Option<&'static str>> {
    none_of(&book::check(&workspace.root)?)
}

/// Fails with what was found, if anything was.
fn none_of(found: &[String]) -> Result<Option<&'static str>> {
    if found.is_empty() { Ok(None) } else { bail!("{}", found.join("\n       ")) }
}

fn unsafe_code(workspace: &Workspace) -> Result<Option<&'static str>> {
    let found = unsafe_list::check(&workspace.root)?;
    if found.is_empty() { Ok(None) } else { bail!("{}", found.join("\n       ")) }
}

fn clippy(workspace: &Workspace) -> Result<Option<&'static str>> {
    process::run(workspace.cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        .map(|()| None)
}

fn docs(workspace: &Workspace) -> Result<Option<&'static str>> {
    process::run(
        workspace.cargo().args(["doc", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-Dwarnings"),
    )
    .map(|()| None)
}

/// Said where cargo-deny is missing.
const NO_DENY: &str = "cargo-deny is not installed (`cargo install cargo-deny`)";

fn has_deny(workspace: &Workspace) -> bool {
    succeeds(workspace.cargo().args(["deny", "--version"]))
}

fn licences(workspace: &Workspace) -> Result<Option<&'static str>> {
    if !has_deny(workspace) {
        return Ok(Some(NO_DENY));
    }
    process::run(workspace.cargo().args(["deny", "check", "licenses", "bans", "sources"])).map(|()| None)
}

/// Holds every dependency against `RustSec`'s database, the one that cargo-audit reads too.
fn advisories(workspace: &Workspace) -> Result<Option<&'static str>> {
    if !has_deny(workspace) {
        return Ok(Some(NO_DENY));
    }
    if !succeeds(workspace.cargo().args(["deny", "fetch", "db"])) {
        return Ok(Some("the database (github.com/RustSec/advisory-db) cannot be fetched"));
    }
    process::run(workspace.cargo().args(["deny", "check", "advisories"])).map(|()| None)
}
