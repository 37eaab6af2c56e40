//! The lab's reports quote the crates' code by the names of items: checks that those are there.

use std::path::Path;

/// Returns the file of an `@excerpt` line of a template, and what lines of it begin with, one after the other.
fn quoted(line: &str) -> Option<(&str, Vec<&str>)> {
    let (file, item) = line.strip_prefix("@excerpt ")?.split_once(": ")?;
    Some((file, item.split(" >> ").collect()))
}

fn has(text: &str, starts: &[&str]) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    starts.iter().all(|start| lines.any(|line| line.starts_with(start)))
}

#[test]
fn every_item_that_a_report_quotes_is_in_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut count = 0;
    for template in ["merge.md.j2", "qlora.md.j2"] {
        let text = std::fs::read_to_string(root.join("lab/report/src/text").join(template)).unwrap();
        for (file, starts) in text.lines().filter_map(quoted) {
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(has(&source, &starts), "{file} has no {starts:?}, which a report quotes");
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}
