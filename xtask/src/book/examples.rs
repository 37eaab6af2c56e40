//! Code that is shown is code that is compiled: READMEs show the marked part of their crate's example.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::markdown::split;

/// Returns the crates, by the names of their directories.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn crates(root: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(root.join("crates")).context("cannot read `crates`")?;
    let directories = entries.flatten().filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut names: Vec<String> =
        directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Returns the text between `// ANCHOR: name` and `// ANCHOR_END: name`; all of it for an empty name.
pub(super) fn part<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    if name.is_empty() {
        return (!source.is_empty()).then_some(source);
    }
    let (_, rest) = source.split_once(&format!("// ANCHOR: {name}\n"))?;
    rest.split_once(&format!("// ANCHOR_END: {name}")).map(|(part, _)| part)
}

/// Lists the faults in the READMEs of the crates.
///
/// # Errors
/// When a directory cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in crates(root)? {
        let dir = root.join("crates").join(&name);
        let Ok(readme) = fs::read_to_string(dir.join("README.md")) else {
            found.push(format!("crate `{name}` has no README.md"));
            continue;
        };
        let sources = sources(&dir);
        found.extend(wrong(&readme, &sources).map(|why| format!("`crates/{name}/README.md` {why}")));
    }
    Ok(found)
}

fn sources(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("examples")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect()
}

fn wrong(readme: &str, examples: &[String]) -> Option<&'static str> {
    let (_, blocks) = split(readme);
    let shown: Vec<&String> =
        blocks.iter().filter(|block| block.info.starts_with("rust")).map(|block| &block.text).collect();
    if shown.is_empty() {
        return Some("shows no example");
    }
    let compiled: Vec<&str> = examples.iter().filter_map(|source| part(source, "readme")).collect();
    let same = shown.into_iter().all(|text| compiled.contains(&text.as_str()));
    (!same).then_some("shows code that is not the part `readme` of an example of the crate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_is_not_compiled_is_told() {
        let example = "use a;\n// ANCHOR: readme\nfn main() {}\n// ANCHOR_END: readme\n".to_owned();
        let readme = |code: &str| format!("# a\n\n```rust,ignore\n{code}\n```\n");
        let examples = [example];
        assert_eq!(wrong(&readme("fn main() {}"), &examples), None);
        assert!(wrong(&readme("fn main() { }"), &examples).is_some());
        assert!(wrong("# a\n", &examples).is_some());
    }
}
