//! Files of records: paths, and data sets of the hub.

use std::path::{Path, PathBuf};

use super::client::Request;
use super::kind::RepoKind;
use super::repo::{is_id, snapshot_in};
use crate::CheckpointError;

/// JSON files of a data set that hold no records.
const NO_RECORDS: [&str; 6] = [
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "config.json",
    "package.json",
];
/// Words in the name of a file of other records than those to train on, as the library `datasets` knows them
/// (`data_files.py`).
const OTHER_SPLITS: [&str; 8] =
    ["test", "testing", "eval", "evaluation", "dev", "valid", "validation", "val"];

/// Returns the files of records that `name` stands for: a file, the JSON and JSON Lines files of a directory, or those of
/// the hub's data set of this name, fetched into its usual cache. Where files are named for splits, they are those to train
/// on. `setting` names what asks for it in errors.
///
/// # Errors
/// When it is none of these, when there are no such files, and when the hub cannot be asked or does not give them.
pub fn find_records(setting: &'static str, name: &str) -> Result<Vec<PathBuf>, CheckpointError> {
    let path = Path::new(name.trim());
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if path.is_dir() {
        return in_directory(&snapshot_in(path)?, name);
    }
    let id = name.trim();
    if !is_id(id) {
        return Err(CheckpointError::NoRecords { setting, name: name.to_owned() });
    }
    let request = Request::new(RepoKind::Dataset, id, None);
    // The cache does not tell whether a data set is there as a whole: the hub is asked where it can be.
    let dir = match (request.reach(), request.cached()) {
        (Err(CheckpointError::NotFetched { reason, .. }), Some(cached)) => {
            tracing::warn!("data set `{id}` is taken from the cache, which may not hold all of it: {reason}");
            cached
        }
        (Err(error), _) => return Err(error),
        (Ok(_), _) => request.fetch(|names| choose(names, id))?,
    };
    in_directory(&dir, id)
}

/// Finds the files of records in a directory.
fn in_directory(dir: &Path, name: &str) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut names = Vec::new();
    list(dir, "", &mut names)?;
    let chosen = choose(&names, name)?;
    tracing::info!("records of `{}`: {}", name.trim(), chosen.join(", "));
    Ok(chosen.iter().map(|name| dir.join(name)).collect())
}

/// Lists the files below `dir`, by their path in it.
fn list(dir: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), CheckpointError> {
    let read = |source| CheckpointError::Read { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{prefix}{name}/"), names)?;
        } else {
            names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// Chooses the files to train on, sorted.
fn choose(names: &[String], id: &str) -> Result<Vec<String>, CheckpointError> {
    let is_json = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let file = lower.rsplit('/').next().unwrap_or_default();
        let json = Path::new(file).extension().is_some_and(|ending| ending == "json" || ending == "jsonl");
        json && !NO_RECORDS.contains(&file) && !lower.split('/').any(|part| part.starts_with('.'))
    };
    let mut records: Vec<&String> = names.iter().filter(|name| is_json(name)).collect();
    records.sort_unstable();
    let has_word = |name: &str, words: &[&str]| {
        name.to_ascii_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| words.contains(&word))
    };
    let train: Vec<&String> =
        records.iter().copied().filter(|name| has_word(name, &["train", "training"])).collect();
    let chosen = if train.is_empty() {
        records.iter().copied().filter(|name| !has_word(name, &OTHER_SPLITS)).collect()
    } else {
        train
    };
    if chosen.is_empty() {
        let is_visible = |name: &&String| !name.starts_with('.') && !name.eq_ignore_ascii_case("readme.md");
        let mut holds: Vec<&str> = names.iter().filter(is_visible).map(String::as_str).take(4).collect();
        holds.sort_unstable();
        return Err(CheckpointError::NoJson { id: id.to_owned(), holds: holds.join(", ") });
    }
    Ok(chosen.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_to_train_on_are_chosen_by_their_names() {
        for (names, expected) in [
            (
                &["README.md", "alpaca_data_cleaned.json", "dataset_infos.json"][..],
                "alpaca_data_cleaned.json",
            ),
            (&["b.jsonl", "a.json", ".github/x.json"], "a.json b.jsonl"),
            (
                &["data/test.json", "data/train-1.jsonl", "data/train-0.jsonl"],
                "data/train-0.jsonl data/train-1.jsonl",
            ),
            (&["records.json", "records_val.json"], "records.json"),
            (&["constraint.json", "latest.json"], "constraint.json latest.json"),
        ] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(choose(&names, "org/set").unwrap().join(" "), expected);
        }
        let names = ["README.md".to_owned(), "data/train-00000-of-00001.parquet".to_owned()];
        let error = choose(&names, "org/set").unwrap_err().to_string();
        assert!(error.contains("org/set") && error.contains("train-00000-of-00001.parquet"), "{error}");
        assert!(choose(&["test.json".to_owned()], "org/set").is_err());
    }
}
