//! Holds the list of unsafe code in the book to the sources: a block more or less is a row to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Page and heading of the list.
const PAGE: &str = "docs/security.md";
const HEADING: &str = "## Unsafe code";

/// Folders with code.
const FOLDERS: [&str; 8] = ["benches", "crates", "datasets", "fake-cuda", "faults", "fuzz", "lab", "xtask"];

/// Unsafe blocks and implementations of each file.
type Counts = BTreeMap<String, usize>;

/// Lists every file whose unsafe blocks the page counts otherwise, as sentences.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read `{PAGE}`"))?;
    let listed = listed(&page);
    let mut found = Counts::new();
    for folder in FOLDERS {
        count_in(root, folder, &mut found)?;
    }
    let names: BTreeSet<&String> = listed.keys().chain(found.keys()).collect();
    let count = |counts: &Counts, name: &String| counts.get(name).copied().unwrap_or(0);
    let differs = names.into_iter().filter(|name| count(&listed, name) != count(&found, name));
    let sentence = |name: &String| {
        format!("`{name}` has {} unsafe blocks; `{PAGE}` lists {}", count(&found, name), count(&listed, name))
    };
    Ok(differs.map(sentence).collect())
}

/// Reads the rows below [`HEADING`]: file in the first column, number of blocks in the second.
fn listed(page: &str) -> Counts {
    let section = page.split_once(HEADING).map_or("", |(_, section)| section);
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().trim_end_matches('`').to_owned();
        Some((name, cells.next()?.trim().parse().ok()?))
    };
    section.lines().filter_map(row).collect()
}

fn count_in(root: &Path, folder: &str, found: &mut Counts) -> Result<()> {
    let dir = root.join(folder);
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            if name != "target" && name != "inputs" {
                count_in(root, &path, found)?;
            }
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read `{path}`"))?;
            match blocks(&text) {
                0 => {}
                count => drop(found.insert(path, count)),
            }
        }
    }
    Ok(())
}

/// Counts unsafe blocks and implementations, comments left out.
fn blocks(text: &str) -> usize {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    // Not as one word, so that this file has none.
    let words = [concat!("unsa", "fe {"), concat!("unsa", "fe impl")];
    code.map(|line| words.iter().map(|word| line.matches(word).count()).sum::<usize>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_below_the_heading_are_read() {
        let page = "# Security\n| `a.rs` | 9 | |\n## Unsafe code\n| file | blocks |\n|---|---|\n| `b/c.rs` | 2 | why |\n\n## Next\n| `d.rs` | 1 |";
        assert_eq!(listed(page), Counts::from([("b/c.rs".to_owned(), 2)]));
    }

    #[test]
    fn blocks_and_implementations_count_and_comments_do_not() {
        let word = concat!("unsa", "fe");
        let text =
            format!("{word} {{ f() }} // {word} {{\n{word} impl Send for X {{}}\n{word} fn f() {{}}\n");
        assert_eq!(blocks(&text), 2);
    }

    #[test]
    fn the_list_of_the_book_is_that_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(check(root).unwrap(), Vec::<String>::new());
    }
}
