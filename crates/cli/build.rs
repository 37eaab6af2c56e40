//! Lets tests and programs find libtorch at run time, and release builds name their commit.

use std::path::Path;
use std::process::Command;

fn main() {
    link_libtorch::rpath();
    println!("cargo:rerun-if-changed=build.rs");
    // A debug build would be compiled anew after every commit.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        for path in ["../../.git/HEAD", "../../.git/logs/HEAD"] {
            // Cargo runs the script each time where a path it names is not there.
            if Path::new(path).exists() {
                println!("cargo:rerun-if-changed={path}");
            }
        }
        if let Some(commit) = commit() {
            println!("cargo:rustc-env=LLAMA_FT_COMMIT={commit}");
        }
    }
}

/// Returns the commit that is checked out, with a word where files differ from it; `None` outside a clone.
fn commit() -> Option<String> {
    let output =
        Command::new("git").args(["describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
