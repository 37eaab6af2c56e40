//! The official Python client, where there is one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::start_plain;

#[test]
fn the_openai_package_works_with_the_server() {
    let python = std::env::var("OPENAI_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_package = Command::new(&python).args(["-c", "import openai"]).output();
    if !has_package.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: `{python}` has no package `openai`; OPENAI_PYTHON names a Python that has it");
        return;
    }
    let server = start_plain();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai_client.py");
    let output =
        Command::new(&python).arg(script).arg(format!("http://{}/v1", server.address)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.ends_with("all as expected\n"), "{said}");
}
