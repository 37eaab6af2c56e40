//! The reports quote the crates' code by the names of items; here it is held that those are there.

use std::path::Path;

/// The quoted arguments of each `Item::new(` and `Item::inside(` in a source: a file, then what lines begin with.
fn items(source: &str) -> Vec<Vec<&str>> {
    let calls = source.split("page.excerpt(Item::").skip(1);
    calls
        .map(|call| call.split(';').next().unwrap_or_default().split('"').skip(1).step_by(2).collect())
        .collect()
}

/// Whether a file has lines that begin so, one after the other.
fn has(text: &str, starts: &[&str]) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    starts.iter().all(|start| lines.any(|line| line.starts_with(start)))
}

#[test]
fn every_item_that_a_report_quotes_is_in_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut quoted = 0;
    for task in ["merge", "qlora"] {
        let text = root.join("lab/report/src/text").join(task).join("implementation.rs");
        for item in items(&std::fs::read_to_string(text).unwrap()) {
            let (file, starts) = item.split_first().unwrap();
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(has(&source, starts), "{file} has no {starts:?}, which a report quotes");
            quoted += 1;
        }
    }
    assert!(quoted >= 10, "{quoted}");
}
