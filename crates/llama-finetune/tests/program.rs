//! The program that the documentation shows is the example, word for word.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

#[test]
fn readme_and_doctest_show_the_example() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(here.join(path)).unwrap();
    let example = read("examples/fine_tune.rs");
    let (_, rest) = example.split_once("// ANCHOR: readme\n").unwrap();
    let (program, _) = rest.split_once("// ANCHOR_END: readme").unwrap();
    assert!(read("../../README.md").contains(program), "README.md");
    let lib = read("src/lib.rs");
    let doc = lib.lines().filter_map(|line| line.strip_prefix("//!"));
    let doctest = doc.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
    assert!(doctest.contains(program), "src/lib.rs");
    // Two of a function's lines are its braces and two its result.
    let statements = program.lines().skip_while(|line| !line.starts_with("fn ")).count() - 2;
    assert!(statements <= 14, "{statements} lines");
}
