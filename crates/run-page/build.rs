//! Lets tests and programs find libtorch at run time.

fn main() {
    link_libtorch::rpath();
}
