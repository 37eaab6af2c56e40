//! Base models of the hub.

use std::path::{Path, PathBuf};

use super::client::{Request, shards};
use super::kind::RepoKind;
use crate::CheckpointError;
use crate::tokenizer_files::TOKENIZER_FILES;

/// File with a model's shape.
const CONFIG: &str = "config.json";
/// Weights, most wanted first: a single file, or an index that names its shards.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Returns the directory of the model `id` in the hub's cache, after fetching the files that are not there yet. A
/// model that is there as a whole is taken as it is, without asking the hub. `revision` is a branch, a tag or a commit; the
/// main branch where it is none.
///
/// # Errors
/// When the hub cannot be asked, or does not give it; with what the user can do.
pub(crate) fn fetch_model(id: &str, revision: Option<&str>) -> Result<PathBuf, CheckpointError> {
    let request = Request::new(RepoKind::Model, id, revision);
    match request.cached().filter(|dir| is_whole(dir)) {
        Some(dir) => Ok(dir),
        None => request.fetch(|names| choose(names, id)),
    }
}

/// Checks that a directory holds all that loading the model needs.
fn is_whole(dir: &Path) -> bool {
    let weights = WEIGHTS.iter().map(|name| dir.join(name)).find(|path| path.exists());
    let Some(shards) = weights.and_then(|path| shards(&path).ok()) else { return false };
    let tokenizer = ["tokenizer.json", "tokenizer.model"].iter().any(|name| dir.join(name).exists());
    dir.join(CONFIG).exists() && tokenizer && shards.iter().all(|shard| dir.join(shard).exists())
}

/// Chooses the files that loading needs; the weights first.
fn choose(names: &[String], id: &str) -> Result<Vec<String>, CheckpointError> {
    let has = |name: &str| names.iter().any(|other| other == name);
    let weights = WEIGHTS.into_iter().find(|name| has(name)).filter(|_| has(CONFIG)).ok_or_else(|| {
        let expected = format!("{CONFIG} and one of {}", WEIGHTS.join(", "));
        CheckpointError::NotHuggingFace { id: id.to_owned(), expected }
    })?;
    let tokenizer = TOKENIZER_FILES.into_iter().filter(|name| has(name));
    Ok([weights, CONFIG].into_iter().chain(tokenizer).map(str::to_owned).collect())
}
