//! The messages that the troubleshooting page explains are messages that the programs say.
//!
//! A block marked `text` holds one message a line; `…` stands for what differs from case to case.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::examples;
use super::markdown::{read, split};

const PAGE: &str = "docs/troubleshooting.md";

/// Largest distance in the source between the fixed parts of one message, in bytes.
const REACH: usize = 400;

/// Messages of the page that no source holds, as sentences.
///
/// # Errors
/// When the page cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let page = read(&root.join(PAGE))?;
    let mut source = String::new();
    for name in examples::crates(root)? {
        gather(&root.join("crates").join(name).join("src"), &mut source);
    }
    let (_, blocks) = split(&page);
    let messages = blocks.iter().filter(|block| block.info == "text").flat_map(|block| block.text.lines());
    let unsaid = messages.filter(|message| !says(&source, message));
    Ok(unsaid.map(|message| format!("`{PAGE}` explains a message that no program says: {message}")).collect())
}

/// Adds every Rust file under `dir`, with strings of several lines joined.
fn gather(dir: &Path, source: &mut String) {
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            gather(&path, source);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let mut continued = false;
            for line in text.lines() {
                let line = if continued { line.trim_start() } else { line };
                continued = line.ends_with('\\');
                source.push_str(line.trim_end_matches('\\'));
                if !continued {
                    source.push('\n');
                }
            }
        }
    }
}

/// Checks that the fixed parts of `message` follow each other somewhere in `source`.
fn says(source: &str, message: &str) -> bool {
    let mut parts = message.split('…').map(str::trim).filter(|part| part.len() > 2);
    let Some(first) = parts.next() else { return false };
    let rest: Vec<&str> = parts.collect();
    source.match_indices(first).any(|(at, _)| {
        let mut end = (at + first.len() + REACH).min(source.len());
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let mut window = &source[at + first.len()..end];
        rest.iter().all(|part| match window.split_once(part) {
            Some((_, after)) => {
                window = after;
                true
            }
            None => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_by_its_fixed_parts_in_their_order() {
        let source = "#[error(\"no tensor `{name}` in `{path}`{}\", nearest)]";
        assert!(says(source, "no tensor `…` in `…`"));
        assert!(!says(source, "in `…` no tensor `…`"));
        assert!(!says(source, "no tensor `…` at `…`") && !says(source, "…"));
    }

    #[test]
    fn strings_of_several_lines_are_joined() {
        let dir = tempdir();
        fs::write(dir.join("a.rs"), "f(\"one {a} \\\n   two \\\n   three\");\n").unwrap();
        let mut source = String::new();
        gather(&dir, &mut source);
        fs::remove_dir_all(&dir).unwrap();
        assert!(says(&source, "one … two three"), "{source}");
    }

    fn tempdir() -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-messages-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }
}
