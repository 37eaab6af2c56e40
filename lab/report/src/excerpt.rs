//! Code out of the workspace's own sources, by the name of the item, so that it cannot go stale.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// An item and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// The lines, without the indentation that all share.
    pub(crate) text: String,
    /// Number of the first line, from 1.
    pub(crate) line: usize,
}

/// Returns the root of the workspace: `given`, or the nearest folder around the current one that has the crates.
pub(crate) fn find_source(given: Option<&Path>) -> Result<Option<PathBuf>> {
    let is_root = |dir: &Path| dir.join("crates/lora/src").is_dir();
    if let Some(dir) = given {
        if is_root(dir) {
            return Ok(Some(dir.to_owned()));
        }
        bail!("`{}` has no crates/lora/src; --source names a checkout of the workspace", dir.display());
    }
    let here = std::env::current_dir().unwrap_or_default();
    let around = here.ancestors().chain(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2));
    Ok(around.map(Path::to_path_buf).find(|dir| is_root(dir)))
}

/// Reads an item of a file under `root`: the first that begins with `begin`, behind the line that begins with `around` where
/// that is not empty. Nothing when the file or the item is not there.
pub(crate) fn excerpt(root: &Path, file: &str, around: &str, begin: &str) -> Option<Excerpt> {
    let text = std::fs::read_to_string(root.join(file)).ok()?;
    cut(&text, around, begin)
}

fn cut(text: &str, around: &str, begin: &str) -> Option<Excerpt> {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.iter().position(|line| line.trim_start().starts_with(around))?;
    let start = from + lines[from..].iter().position(|line| line.trim_start().starts_with(begin))?;
    let is_above = |line: &&&str| {
        let line = line.trim_start();
        line.starts_with("///") || line.starts_with("#[") || line.starts_with("#!")
    };
    let first = start - lines[..start].iter().rev().take_while(is_above).count();
    let last = start + end_of_item(&lines[start..])?;
    let indent = lines[start].len() - lines[start].trim_start().len();
    let body = lines[first..=last].iter().map(|line| line.get(indent..).unwrap_or_default());
    Some(Excerpt { text: body.collect::<Vec<_>>().join("\n"), line: first + 1 })
}

/// Returns the line that closes what the first line opens: the first `;` or brace that leaves nothing open. Braces in strings
/// count, since they come in pairs in format strings.
fn end_of_item(lines: &[&str]) -> Option<usize> {
    let mut depth = 0i64;
    for (index, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for letter in code.chars() {
            match letter {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(letter, '}' | ';') {
                return Some(index);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "struct A;\n\nimpl A {\n    /// One.\n    fn one(&self) -> [i32; 2] {\n        [1, 2] // }\n    }\n}\n\nimpl B {\n    fn one(&self) {}\n}\nconst C: [i32; 2] = [\n    1,\n    2,\n];\n";

    #[test]
    fn an_item_comes_with_its_comment_and_without_its_indentation() {
        let found = cut(SOURCE, "impl A", "fn one(").unwrap();
        assert_eq!(found.text, "/// One.\nfn one(&self) -> [i32; 2] {\n    [1, 2] // }\n}");
        assert_eq!(found.line, 4);
        assert_eq!(cut(SOURCE, "impl B", "fn one(").unwrap().text, "fn one(&self) {}");
        assert_eq!(cut(SOURCE, "", "const C").unwrap().text.lines().count(), 4);
        assert!(cut(SOURCE, "", "fn two(").is_none());
    }
}
