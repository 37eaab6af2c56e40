//! Files of a checkpoint, and the tensors each holds.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::atomic_file::folder;
use crate::limits::MAX_INDEX_BYTES;
use crate::unique_map::UniqueMap;
use crate::{WeightsError, read_text};

/// Files that may hold the weights of a Hugging Face directory, most wanted first.
const WEIGHT_FILES: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Returns the file in `dir` to read weights from: one of `WEIGHT_FILES`.
pub(crate) fn weight_file(dir: &Path) -> Result<PathBuf, WeightsError> {
    WEIGHT_FILES
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| WeightsError::NoWeights { dir: dir.to_owned(), expected: WEIGHT_FILES.join(", ") })
}

/// A shard index: which tensors each file beside it holds.
#[derive(Debug)]
pub(crate) struct ShardIndex {
    pub(crate) path: PathBuf,
    /// File name to tensor names.
    pub(crate) shards: BTreeMap<String, Vec<String>>,
}

/// The part of an index file that matters (transformers `model.safetensors.index.json`).
#[derive(Deserialize)]
struct IndexFile {
    weight_map: UniqueMap<String>,
}

impl ShardIndex {
    /// Tells whether `path` is named as a shard index is.
    pub(crate) fn is_named_so(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"))
    }

    /// Reads an index and checks that every file it names is there.
    pub(crate) fn read(path: &Path) -> Result<Self, WeightsError> {
        let text = read_text(path, MAX_INDEX_BYTES)
            .map_err(|source| WeightsError::Read { path: path.to_owned(), source })?;
        let index: IndexFile = serde_json::from_str(&text)
            .map_err(|source| WeightsError::Index { path: path.to_owned(), source })?;
        let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, shard) in index.weight_map.0 {
            shards.entry(shard).or_default().push(name);
        }
        for shard in shards.keys() {
            let mut components = Path::new(shard).components();
            if !matches!((components.next(), components.next()), (Some(Component::Normal(_)), None)) {
                return Err(WeightsError::ShardName { index: path.to_owned(), shard: shard.clone() });
            }
            if !folder(path).join(shard).exists() {
                return Err(WeightsError::ShardMissing { index: path.to_owned(), shard: shard.clone() });
            }
        }
        Ok(Self { path: path.to_owned(), shards })
    }

    /// Returns the path of the shard `name`.
    pub(crate) fn shard_path(&self, name: &str) -> PathBuf {
        folder(&self.path).join(name)
    }
}
