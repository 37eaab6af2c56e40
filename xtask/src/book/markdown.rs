//! The parts of Markdown that the checks need: links, includes, code blocks and the anchors of headings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Reads a page; the error names it.
pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// A fenced block: the text behind its fence, and its lines.
pub(super) struct Block<'a> {
    pub(super) info: &'a str,
    pub(super) text: String,
}

/// Returns the lines outside fenced blocks, and the blocks.
pub(super) fn split(text: &str) -> (Vec<&str>, Vec<Block<'_>>) {
    let (mut lines, mut blocks) = (Vec::new(), Vec::new());
    let mut open: Option<Block<'_>> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some(Block { info, text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => lines.push(line),
        }
    }
    (lines, blocks)
}

/// Returns the targets of all links, code left out.
pub(super) fn links(text: &str) -> Vec<String> {
    let (lines, _) = split(text);
    let mut targets = Vec::new();
    for line in lines.into_iter().filter(|line| !line.starts_with("    ")) {
        // Every other piece between backticks is code; a link's text may be.
        let prose: Vec<&str> = line.split('`').collect();
        let prose: String =
            prose.iter().enumerate().map(|(at, piece)| if at % 2 == 0 { *piece } else { "code" }).collect();
        for rest in prose.split("](").skip(1) {
            targets.extend(rest.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    targets
}

/// Returns the paths and parts that `{{#include PATH:PART}}` names.
pub(super) fn includes(text: &str) -> Vec<(String, String)> {
    let targets = text.split("{{#include ").skip(1).filter_map(|rest| rest.split_once("}}"));
    targets
        .map(|(target, _)| target.split_once(':').unwrap_or((target, "")))
        .map(|(path, part)| (path.to_owned(), part.to_owned()))
        .collect()
}

/// Returns the anchors of all headings, as GitHub and mdBook make them.
pub(super) fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (lines, _) = split(text);
    let headings = lines.into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let name = anchor(heading.trim_start_matches('#').trim());
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 { name } else { format!("{name}-{}", *count - 1) }
        })
        .collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_and_code_is_left_alone() {
        let text =
            "[a](a.md) and [`b`](b.md#c), `[c](c.md)`\n\n    [d](d.md)\n```\n[e](e.md)\n```\n| [f](f.md) |\n";
        assert_eq!(links(text), ["a.md", "b.md#c", "f.md"]);
    }

    #[test]
    fn anchors_are_those_of_github() {
        let text = "# A `b`: c, d_e!\n## Same\n```\n# not this\n```\n## Same\n";
        assert_eq!(anchors(text), ["a-b-c-d_e", "same", "same-1"].map(str::to_owned).into());
    }
}
