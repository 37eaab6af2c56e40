//! Lets tests and programs find libtorch at run time, those of other crates too.

fn main() {
    link_libtorch::rpath();
    link_libtorch::publish();
}
