//! Lets tests, examples and programs find libtorch at run time. Called by the build script of each crate that links it.
//!
//! A build script's linker arguments reach the programs of its own crate only, so every crate calls [`rpath`] for itself.
//! Crates outside this repository may do so too; without it, `cargo run` and `cargo test` find libtorch all the same, by
//! [`publish`].

use std::env;
use std::path::Path;

/// Tells the linker to write libtorch's directory into the programs of the crate whose build script calls this, and to put
/// torch-ext's functions in the place of two of torch-sys's that lose errors (`scalar_errors.cpp` there).
///
/// The directory is the one that torch-sys found (`links = "tch"`; cargo names it to direct dependents), or that
/// llama-finetune passed on. A program that is moved finds a libtorch beside it, in `../libtorch/lib`. Who builds programs for
/// other machines (`cargo xtask package`) sets `LIBTORCH_RPATH` to the directories to search instead, with `:` between them.
#[expect(clippy::print_stdout, reason = "the way a build script talks to cargo")]
pub fn rpath() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH_RPATH");
    let named = ["DEP_TCH_LIBTORCH_LIB", "DEP_LLAMA_FINETUNE_LIBTORCH_LIB"];
    if let Some(lib) = named.into_iter().find_map(|name| env::var(name).ok()) {
        let rpath = env::var("LIBTORCH_RPATH").unwrap_or_else(|_| format!("{lib}:$ORIGIN/../libtorch/lib"));
        println!("cargo:rustc-link-arg=-Wl,-rpath,{rpath}");
        if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
            // Named as undefined, since what needs it comes behind the archive that has it.
            println!(
                "cargo:rustc-link-arg=-Wl,--wrap=ats_free,--wrap=get_and_reset_last_err,-u,__wrap_ats_free"
            );
        }
    }
}

/// Passes libtorch's directory on to crates that depend on the one whose build script calls this: their build scripts find
/// its name in `DEP_LLAMA_FINETUNE_LIBTORCH_LIB`, and `cargo run` and `cargo test` search it.
///
/// Cargo adds a search path of a build script to the dynamic linker's only where it lies in the target directory; a link
/// that lies there does.
#[expect(clippy::print_stdout, reason = "the way a build script talks to cargo")]
pub fn publish() {
    let (Ok(lib), Ok(out)) = (env::var("DEP_TCH_LIBTORCH_LIB"), env::var("OUT_DIR")) else { return };
    println!("cargo:libtorch_lib={lib}");
    let link = Path::new(&out).join("libtorch");
    // The link of an earlier build may lead elsewhere.
    let _ = std::fs::remove_file(&link);
    #[cfg(unix)]
    if std::os::unix::fs::symlink(&lib, &link).is_ok() {
        println!("cargo:rustc-link-search=native={}", link.display());
    }
}
