//! The book (`docs/`) and the other pages: every link leads somewhere, every page is in the summary, every example shown is
//! one that is compiled, and every error message explained is one that a program can say.

mod examples;
mod markdown;
mod messages;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use markdown::{anchors, includes, links, read};

/// The book's pages.
const BOOK: &str = "docs";

/// Checks the book; returns everything that is wrong, as sentences.
///
/// # Errors
/// When a page cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let pages = pages(root)?;
    let mut found = Vec::new();
    for page in &pages {
        let text = read(&root.join(page))?;
        for link in links(&text) {
            found.extend(broken(root, page, &link).map(|why| format!("`{}`: {why}", page.display())));
        }
        for (path, part) in includes(&text) {
            let source = read(&root.join(page).with_file_name(&path)).unwrap_or_default();
            if examples::part(&source, &part).is_none() {
                found.push(format!(
                    "`{}` includes part `{part}` of `{path}`, which is not there",
                    page.display()
                ));
            }
        }
    }
    found.extend(not_in_summary(root, &pages)?);
    found.extend(examples::check(root)?);
    found.extend(messages::check(root)?);
    Ok(found)
}

/// Returns every page that is checked, relative to `root`.
fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "datasets/README.md"].map(PathBuf::from).into();
    let mut directories = vec![PathBuf::from(BOOK)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory))
            .with_context(|| format!("cannot read `{}`", directory.display()))?
        {
            let path = directory.join(entry?.file_name());
            if root.join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.extend(
        examples::crates(root)?.into_iter().map(|name| Path::new("crates").join(name).join("README.md")),
    );
    pages.sort();
    pages.retain(|page| root.join(page).exists());
    Ok(pages)
}

/// Says why a link of `page` leads nowhere. A link of the book has to stay in the book, or it is broken where that is built.
fn broken(root: &Path, page: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.to_owned() } else { plain(&page.with_file_name(path)) };
    if page.starts_with(BOOK) && !target.starts_with(BOOK) {
        return Some(format!("link `{link}` leaves the book"));
    }
    if !root.join(&target).exists() {
        return Some(format!("link `{link}` leads to no file"));
    }
    if anchor.is_empty() {
        return None;
    }
    let headings = anchors(&fs::read_to_string(root.join(&target)).unwrap_or_default());
    (!headings.contains(anchor)).then(|| format!("link `{link}` names no heading of `{}`", target.display()))
}

/// Returns a path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if plain.pop() => {}
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

fn not_in_summary(root: &Path, pages: &[PathBuf]) -> Result<Vec<String>> {
    let summary = Path::new(BOOK).join("SUMMARY.md");
    let listed: BTreeSet<PathBuf> =
        links(&read(&root.join(&summary))?).iter().map(|link| plain(&summary.with_file_name(link))).collect();
    let missing =
        pages.iter().filter(|page| page.starts_with(BOOK) && **page != summary && !listed.contains(*page));
    Ok(missing.map(|page| format!("`{}` is not in `{}`", page.display(), summary.display())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(""))
    }

    #[test]
    fn every_link_page_example_and_message_of_the_book_holds() {
        assert!(pages(root()).unwrap().len() > 20);
        let found = check(root()).unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn a_link_to_nothing_is_told_with_its_reason() {
        let page = Path::new("docs/merge.md");
        for (link, why) in [
            ("nowhere.md", "no file"),
            ("merge.md#nothing-of-the-kind", "no heading"),
            ("#nothing-of-the-kind", "no heading"),
            ("../README.md", "leaves the book"),
        ] {
            let told = broken(root(), page, link).unwrap_or_default();
            assert!(told.contains(why), "{link}: {told}");
        }
        for link in ["models.md", "merge.md#proof", "#proof", "flags/merge.md", "https://example.org/x"] {
            assert_eq!(broken(root(), page, link), None, "{link}");
        }
    }
}
