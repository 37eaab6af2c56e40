//! Lets tests, examples and programs find libtorch at run time. Called by the build script of each crate that links it.
//!
//! A build script's linker arguments reach the programs of its own crate only, so every crate calls this for itself.

/// Tells the linker to write libtorch's directory into the programs of the crate whose build script calls this.
///
/// The directory is the one that torch-sys found (`links = "tch"`; cargo names it to direct dependents). A program that
/// is moved finds a libtorch beside it, in `../libtorch/lib`.
#[expect(clippy::print_stdout, reason = "the way a build script talks to cargo")]
pub fn rpath() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../libtorch/lib");
    }
}
