//! A checkpoint as a set of named tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::Tensor;

use crate::directory::{ShardIndex, weight_file};
use crate::lfs::refuse_lfs_pointer;
use crate::limits::MAX_TENSORS;
use crate::mapping::MappedFile;
use crate::nearest::nearest;
use crate::placed::Placed;
use crate::{TensorSpec, WeightsError, safetensors, torch_file};

/// The tensors of a checkpoint, by name.
///
/// Opening reads headers only, so it takes milliseconds whatever the size; tensors look straight at the mapped files.
#[derive(Debug)]
pub struct TensorStore {
    path: PathBuf,
    files: Vec<PathBuf>,
    maps: Vec<MappedFile>,
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Entry {
    /// Index into `maps`.
    file: usize,
    placed: Placed,
}

impl TensorStore {
    /// Opens a Hugging Face directory or a single file.
    ///
    /// In a directory, the first of `model.safetensors`, `model.safetensors.index.json`, `pytorch_model.bin` and
    /// `pytorch_model.bin.index.json` counts.
    ///
    /// # Errors
    /// [`WeightsError::NoWeights`] when a directory holds none of these, else as [`TensorStore::open_file`].
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let store =
            if path.is_dir() { Self::open_file(&weight_file(path)?)? } else { Self::open_file(path)? };
        Ok(Self { path: path.to_owned(), ..store })
    }

    /// Opens one file: safetensors, a torch pickle of either age, or a shard index (`*.index.json`). What a file of
    /// weights is, its content decides, not its name.
    ///
    /// # Errors
    /// A [`WeightsError`] that names the file: missing, truncated, malformed, a Git LFS pointer, an element type that
    /// is not supported, a shard that is missing or lacks a tensor, a pickle that asks for more than tensors.
    pub fn open_file(path: &Path) -> Result<Self, WeightsError> {
        let mut store = Self {
            path: path.to_owned(),
            files: Vec::new(),
            maps: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        if !ShardIndex::is_named_so(path) {
            let tensors = store.add_file(path)?;
            store.tensors.extend(tensors);
            return Ok(store);
        }
        let index = ShardIndex::read(path)?;
        for (shard, names) in &index.shards {
            let mut tensors: BTreeMap<_, _> = store.add_file(&index.shard_path(shard))?.collect();
            for name in names {
                let entry = tensors.remove(name).ok_or_else(|| WeightsError::ShardLacks {
                    index: path.to_owned(),
                    shard: shard.clone(),
                    name: name.clone(),
                })?;
                store.tensors.insert(name.clone(), entry);
            }
        }
        Ok(store)
    }

    /// Maps a file and reads its header.
    fn add_file(
        &mut self,
        path: &Path,
    ) -> Result<impl Iterator<Item = (String, Entry)> + use<>, WeightsError> {
        let (mapped, map) = MappedFile::open(path)?;
        let bytes = map.as_ref();
        refuse_lfs_pointer(path, bytes)?;
        let tensors =
            if bytes.get(8) == Some(&b'{') || path.extension().is_some_and(|ext| ext == "safetensors") {
                let file = safetensors::read(path, bytes)?;
                self.metadata.extend(file.metadata);
                file.tensors
            } else if torch_file::is_one(bytes) {
                torch_file::read(bytes)
                    .map_err(|source| WeightsError::TorchFile { path: path.to_owned(), source })?
            } else {
                return Err(WeightsError::Unrecognised { path: path.to_owned() });
            };
        if tensors.len() > MAX_TENSORS {
            let (actual, limit) = (tensors.len(), MAX_TENSORS);
            return Err(WeightsError::TooManyTensors { path: path.to_owned(), actual, limit });
        }
        let file = self.files.len();
        self.files.push(path.to_owned());
        self.maps.push(mapped);
        Ok(tensors.into_iter().map(move |(name, placed)| (name, Entry { file, placed })))
    }

    /// Returns the path the checkpoint was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the files that hold tensors.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Returns every name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Tells whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Returns the metadata of safetensors headers, such as `format`; empty for torch pickles.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns the size of all tensors together in bytes.
    pub fn num_bytes(&self) -> u64 {
        self.tensors.values().map(|entry| entry.placed.num_bytes()).fold(0, u64::saturating_add)
    }

    /// Returns the header entry of a tensor.
    ///
    /// # Errors
    /// [`WeightsError::UnknownTensor`], with the nearest names, when there is none of this name.
    pub fn info(&self, name: &str) -> Result<TensorSpec, WeightsError> {
        let Placed { kind, shape, .. } = &self.entry(name)?.placed;
        Ok(TensorSpec { name: name.to_owned(), kind: *kind, shape: shape.clone() })
    }

    /// Returns the tensor, on the CPU and in the kind it is stored in, without a copy: it looks at the mapped file and
    /// keeps it mapped. (A tensor that lies at an address its elements cannot be read from, as old files have it, is
    /// copied.)
    ///
    /// Writing to it in place is seen by other tensors of this name while one of them lives, never by the file.
    ///
    /// # Errors
    /// Those of [`TensorStore::info`]; [`WeightsError::Torch`] or [`WeightsError::View`] when libtorch refuses.
    pub fn tensor(&self, name: &str) -> Result<Tensor, WeightsError> {
        let entry = self.entry(name)?;
        entry.placed.tensor(&self.maps[entry.file])
    }

    fn entry(&self, name: &str) -> Result<&Entry, WeightsError> {
        self.tensors.get(name).ok_or_else(|| WeightsError::UnknownTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            nearest: nearest(name, self.names()),
        })
    }
}
