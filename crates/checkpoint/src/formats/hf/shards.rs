//! `model.safetensors`, or shards with an index.

use std::collections::BTreeMap;
use std::path::Path;

use merge::{Placement, TensorPlan};
use serde_json::json;
use weights::{SafetensorsWriter, TensorSpec, TensorStream, atomic_write, pt_metadata};

use crate::CheckpointError;

/// One file, or shards of limited size and their index (transformers `save_pretrained`).
#[derive(Debug)]
pub(super) struct Shards {
    writers: Vec<SafetensorsWriter>,
    names: Vec<String>,
    placements: Vec<Placement>,
    /// Tensor to shard, in the order of the model.
    index: Vec<(String, usize)>,
    total_bytes: u64,
}

/// The index of shards.
const INDEX: &str = "model.safetensors.index.json";

impl Shards {
    /// Lays out `tensors`, which are in the order of the model, in `dir`: each shard takes tensors until the next would
    /// make it larger than `max_shard_bytes`; a tensor that is larger has a shard of its own.
    ///
    /// # Errors
    /// When the format cannot hold them.
    pub(super) fn new(
        dir: &Path,
        tensors: &[TensorPlan],
        max_shard_bytes: u64,
    ) -> Result<Self, CheckpointError> {
        let mut shards: Vec<Vec<TensorSpec>> = vec![Vec::new()];
        let (mut size, mut total_bytes, mut index) = (0, 0, Vec::new());
        for tensor in tensors {
            let spec =
                TensorSpec { name: tensor.name.clone(), kind: tensor.kind, shape: tensor.merged_shape() };
            let num_bytes = spec.num_bytes();
            if size > 0 && size + num_bytes > max_shard_bytes {
                shards.push(Vec::new());
                size = 0;
            }
            size += num_bytes;
            total_bytes += num_bytes;
            index.push((tensor.name.clone(), shards.len() - 1));
            if let Some(shard) = shards.last_mut() {
                shard.push(spec);
            }
        }
        let count = shards.len();
        let names = shard_names(count);
        let writers = names
            .iter()
            .zip(shards)
            .map(|(name, specs)| SafetensorsWriter::new(&dir.join(name), specs, &pt_metadata()))
            .collect::<Result<Vec<_>, _>>()?;
        let by_name: BTreeMap<&str, &TensorPlan> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let placements = writers.iter().enumerate().flat_map(|(file, writer)| {
            writer.specs().iter().filter_map({
                let by_name = &by_name;
                move |spec| {
                    let tensor = (*by_name.get(spec.name.as_str())?).clone();
                    Some(Placement::whole(tensor, file, spec.name.clone()))
                }
            })
        });
        let placements = placements.collect();
        Ok(Self { writers, names, placements, index, total_bytes })
    }

    /// Returns the place of every tensor, in the order of the files.
    pub(super) fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// Begins every file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn streams(&self) -> Result<Vec<TensorStream>, CheckpointError> {
        Ok(self.writers.iter().map(SafetensorsWriter::stream).collect::<Result<_, _>>()?)
    }

    /// Writes the index of shards into `dir`; nothing where there is one file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn write_index(&self, dir: &Path) -> Result<(), CheckpointError> {
        if self.names.len() == 1 {
            return Ok(());
        }
        let map = self.index.iter().map(|(name, file)| (name.as_str(), self.names[*file].as_str())).collect();
        write_index(dir, self.total_bytes, &map)
    }
}

/// Names `count` files of weights.
pub(super) fn shard_names(count: usize) -> Vec<String> {
    if count == 1 {
        return vec!["model.safetensors".to_owned()];
    }
    (1..=count).map(|number| format!("model-{number:05}-of-{count:05}.safetensors")).collect()
}

/// Writes the index of shards into `dir`; `map` says which file each tensor is in.
///
/// # Errors
/// When the disk refuses.
pub(super) fn write_index(
    dir: &Path,
    total_bytes: u64,
    map: &BTreeMap<&str, &str>,
) -> Result<(), CheckpointError> {
    let index = json!({"metadata": {"total_size": total_bytes}, "weight_map": map});
    Ok(atomic_write(&dir.join(INDEX), |file| {
        file.write_all(serde_json::to_string_pretty(&index).unwrap_or_default().as_bytes())
    })?)
}
