//! Adapters: directories, and names on the hub.

use std::path::{Path, PathBuf};

use super::client::Request;
use super::kind::RepoKind;
use super::repo::{is_id, snapshot_in};
use crate::CheckpointError;
use crate::tokenizer_files::TOKENIZER_FILES;

/// PEFT's configuration of an adapter.
const CONFIG: &str = "adapter_config.json";
/// The adapter's tensors, most wanted first.
const WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];
/// The settings of the run that trained it, where it was trained here.
const RUN: &str = "run.toml";

/// Returns the directory of the adapter `name`: a directory, or else the hub's adapter of this name, fetched into its usual
/// cache. One that is there as a whole is taken as it is, without asking the hub.
///
/// # Errors
/// [`CheckpointError::NoAdapter`] when it is neither; and when the hub cannot be asked, or does not give it.
pub fn find_adapter(name: &str) -> Result<PathBuf, CheckpointError> {
    let name = name.trim();
    let path = Path::new(name);
    if path.is_dir() {
        return if path.join(CONFIG).exists() { Ok(path.to_owned()) } else { snapshot_in(path) };
    }
    if path.exists() || !is_id(name) {
        return Err(CheckpointError::NoAdapter { adapter: name.to_owned() });
    }
    let request = Request::new(RepoKind::Adapter, name, None);
    let is_whole =
        |dir: &PathBuf| dir.join(CONFIG).exists() && WEIGHTS.iter().any(|name| dir.join(name).exists());
    match request.cached().filter(is_whole) {
        Some(dir) => Ok(dir),
        None => request.fetch(|names| choose(names, name)),
    }
}

fn choose(names: &[String], id: &str) -> Result<Vec<String>, CheckpointError> {
    let has = |name: &str| names.iter().any(|other| other == name);
    let weights = WEIGHTS.into_iter().find(|name| has(name)).filter(|_| has(CONFIG)).ok_or_else(|| {
        CheckpointError::NotAnAdapter { id: id.to_owned(), whole_model: has("config.json") }
    })?;
    let beside = [RUN].into_iter().chain(TOKENIZER_FILES).filter(|name| has(name));
    Ok([weights, CONFIG].into_iter().chain(beside).map(str::to_owned).collect())
}
