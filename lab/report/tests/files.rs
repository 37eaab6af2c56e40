//! The files of a report: the same twice, in processes of their own, and whole.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "made-up results: what does not unwrap is a mistake in them"
)]

#[path = "../src/text/tests/synthetic/mod.rs"]
mod synthetic;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use self::synthetic::{MergeFaults, QloraFaults, lora_vs_qlora, merge_compare, write};

/// An experiment and its cells.
type Made = (Value, Vec<Value>);

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn report(dir: &Path, lang: &str, formats: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_report"));
    command
        .args(["--lang", lang, "--formats", formats])
        .arg("--results")
        .arg(dir)
        .arg("--source")
        .arg(root());
    command.output().unwrap()
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in [dir.to_path_buf(), dir.join("plots")] {
        for entry in std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            found.insert(
                entry.file_name().to_string_lossy().into_owned(),
                std::fs::read(entry.path()).unwrap(),
            );
        }
    }
    found
}

fn twice(made: &Made, lang: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let mut formats = "md,html,pdf,docx";
    for dir in [&first, &second] {
        write(dir, &made.0, &made.1);
        let mut output = report(dir, lang, formats);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() && told.contains("no font with Chinese letters") {
            eprintln!("without a Chinese font there is no Chinese PDF to test");
            formats = "md,html,docx";
            output = report(dir, lang, formats);
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (first, second) = (files(&first), files(&second));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, bytes) in &first {
        assert!(bytes == &second[name], "{name} differs");
        assert!(!bytes.is_empty() && !name.contains(".part"), "{name}");
    }
    for format in formats.split(',') {
        assert!(first.contains_key(&format!("report.{format}")));
    }
    let page = String::from_utf8(first["report.html"].clone()).unwrap();
    let outside = ["src=", "href=\"http", "url(", "@import", "<script"];
    assert!(outside.iter().all(|word| !page.contains(word)), "the page needs nothing else");
    for name in first.keys().filter(|name| name.contains(".svg")) {
        let svg = String::from_utf8(first[name].clone()).unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("font-family=\"report"), "{name}");
    }
}

#[test]
fn two_reports_of_merges_are_equal_byte_for_byte() {
    let made = merge_compare(MergeFaults { planted: true, failures: true, ..MergeFaults::default() });
    twice(&made, "en");
    twice(&made, "zh");
}

#[test]
fn two_reports_of_qlora_are_equal_byte_for_byte() {
    twice(&lora_vs_qlora(QloraFaults::default()), "en");
}

#[test]
fn a_last_line_that_was_cut_off_is_left_out_and_any_other_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (experiment, cells) = merge_compare(MergeFaults::default());
    write(dir.path(), &experiment, &cells);
    let path = dir.path().join("results.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 200]).unwrap();
    assert!(report(dir.path(), "en", "md").status.success());
    std::fs::write(&path, format!("{{\"cell\": \n{whole}")).unwrap();
    let output = report(dir.path(), "en", "md");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("error: line 1 of `") && told.contains("is no cell"), "{told}");
}

#[test]
fn a_file_that_is_no_font_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (experiment, cells) = merge_compare(MergeFaults::default());
    write(dir.path(), &experiment, &cells);
    let mut command = Command::new(env!("CARGO_BIN_EXE_report"));
    command.args(["--lang", "zh", "--formats", "pdf", "--font"]).arg(root().join("LICENSE"));
    let output = command.arg("--results").arg(dir.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("is no font with Chinese letters; --font wants one"), "{told}");
}
