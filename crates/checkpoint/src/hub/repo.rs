//! A repository of the hub: its name, and its folder in the cache.

use std::path::{Path, PathBuf};

use crate::CheckpointError;
use crate::text_file::read_small;

/// Tells whether `name` may be that of a repository on the hub: `organisation/name`. A name with the ending of a data file
/// is a path.
pub(crate) fn is_id(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let is_file = Path::new(name).extension().is_some_and(|ending| {
        ["json", "jsonl", "csv", "tsv", "txt", "parquet", "gz", "zip", "gguf", "safetensors", "bin"]
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    });
    !is_file && name.split_once('/').is_some_and(|(organisation, name)| plain(organisation) && plain(name))
}

/// Returns the snapshot where `path` is a repository's folder in the hub's cache (`models--org--name`), or the `snapshots`
/// folder in it: the one that `main` names, or the only one. Any other path is returned as it is.
///
/// # Errors
/// When there are several snapshots, or none; and for the cache as a whole.
pub(crate) fn snapshot_in(path: &Path) -> Result<PathBuf, CheckpointError> {
    let is_snapshots =
        |path: &Path| path.file_name().is_some_and(|name| name == "snapshots") && path.is_dir();
    let snapshots = if is_snapshots(path) { path.to_owned() } else { path.join("snapshots") };
    let repo = snapshots.parent().unwrap_or(path);
    let named = repo.file_name().is_some_and(|name| name.to_string_lossy().contains("--"));
    if !snapshots.is_dir() || !(named || repo.join("refs").is_dir() || repo.join("blobs").is_dir()) {
        let repos = folders(path, |name| name.starts_with("models--") || name.starts_with("datasets--"));
        return match repos.first() {
            None => Ok(path.to_owned()),
            Some(_) => Err(CheckpointError::WholeCache { dir: path.to_owned(), holds: listed(&repos) }),
        };
    }
    let main = read_small(&repo.join("refs/main")).ok();
    if let Some(main) = main.map(|commit| snapshots.join(commit.trim())).filter(|main| main.is_dir()) {
        return Ok(main);
    }
    let found = folders(&snapshots, |_| true);
    match found.as_slice() {
        [only] => Ok(snapshots.join(only)),
        _ => Err(CheckpointError::Snapshots { dir: snapshots, count: found.len(), holds: listed(&found) }),
    }
}

/// Returns the commit that a snapshot's folder is of.
pub(crate) fn commit_of(dir: &Path) -> Option<String> {
    let is_snapshot = dir.parent()?.file_name()? == "snapshots";
    let name = dir.file_name()?.to_str()?;
    let is_commit = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_snapshot && is_commit).then(|| name.to_owned())
}

/// Lists the folders in `dir` whose names fit, sorted.
fn folders(dir: &Path, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter(|entry| entry.path().is_dir());
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| fits(name)).collect();
    names.sort_unstable();
    names
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(4).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > 4 { format!("{shown}, …") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_hub_is_two_plain_words() {
        for name in ["org/model", "HuggingFaceTB/SmolLM2-135M-Instruct", "a/b.c_d-e", "a/llama-3.1"] {
            assert!(is_id(name), "{name}");
        }
        for name in
            ["model", "./model", "../model", "/org/model", "org/", "/model", "a/b/c", "org/mo del", "org/.."]
        {
            assert!(!is_id(name), "{name}");
        }
        for name in ["data/train.json", "data/records.JSONL", "models/tiny.gguf"] {
            assert!(!is_id(name), "{name}");
        }
    }

    #[test]
    fn a_folder_of_the_cache_stands_for_its_snapshot() {
        let cache = tempfile::tempdir().unwrap();
        let repo = cache.path().join("models--org--tiny");
        let commits = ["a".repeat(40), "b".repeat(40)];
        std::fs::create_dir_all(repo.join("snapshots").join(&commits[0])).unwrap();
        let first = repo.join("snapshots").join(&commits[0]);
        for path in [repo.clone(), repo.join("snapshots"), first.clone()] {
            assert_eq!(snapshot_in(&path).unwrap(), first, "{}", path.display());
        }
        let second = repo.join("snapshots").join(&commits[1]);
        std::fs::create_dir(&second).unwrap();
        let error = snapshot_in(&repo).unwrap_err().to_string();
        assert!(error.contains(&commits[0]) && error.contains(&commits[1]), "{error}");
        std::fs::create_dir(repo.join("refs")).unwrap();
        std::fs::write(repo.join("refs/main"), &commits[1]).unwrap();
        assert_eq!(snapshot_in(&repo).unwrap(), second);
        assert_eq!(commit_of(&second).as_deref(), Some(commits[1].as_str()));
        let error = snapshot_in(cache.path()).unwrap_err().to_string();
        assert!(error.contains("`models--org--tiny`"), "{error}");
        let plain = tempfile::tempdir().unwrap();
        assert_eq!(snapshot_in(plain.path()).unwrap(), plain.path());
        assert_eq!(commit_of(plain.path()), None);
    }
}
