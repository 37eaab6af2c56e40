//! A build script that writes libtorch's directory into the programs of its crate.

// ANCHOR: readme
fn main() {
    link_libtorch::rpath();
}
// ANCHOR_END: readme
