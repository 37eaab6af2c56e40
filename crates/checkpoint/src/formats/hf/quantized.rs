//! Quantised weights in a Hugging Face directory, as bitsandbytes has them.

use std::collections::BTreeMap;
use std::path::Path;

use merge::{Proof, TensorPlan};
use qlora_nf4::{Quantization, write_quantized};
use weights::TensorSpec;

use super::shards::{shard_names, write_index};
use crate::CheckpointError;
use crate::linears::linear_weights;
use crate::merged_model::MergedModel;

/// Writes the weights into `dir`, each tensor merged, quantised and written before the next; files of at most
/// `max_shard_bytes`, unless one tensor is larger.
pub(super) fn write(
    dir: &Path,
    model: &MergedModel<'_>,
    quantization: Quantization,
    max_shard_bytes: u64,
) -> Result<Proof, CheckpointError> {
    let linears = linear_weights(model.config());
    let is_linear = |name: &str| linears.contains(name);
    let parts_of = |spec: &TensorSpec| {
        if is_linear(&spec.name) { quantization.parts(spec) } else { vec![spec.clone()] }
    };
    let mut shards: Vec<Vec<TensorSpec>> = vec![Vec::new()];
    let (mut size, mut total_bytes, mut file_of) = (0, 0, Vec::new());
    for tensor in model.tensors() {
        let spec = TensorSpec { name: tensor.name.clone(), kind: tensor.kind, shape: tensor.merged_shape() };
        let parts = parts_of(&spec);
        let num_bytes: u64 = parts.iter().map(TensorSpec::num_bytes).sum();
        if size > 0 && size + num_bytes > max_shard_bytes {
            shards.push(Vec::new());
            size = 0;
        }
        size += num_bytes;
        total_bytes += num_bytes;
        let file = shards.len() - 1;
        file_of.extend(parts.into_iter().map(|part| (part.name, file)));
        shards[file].push(spec);
    }
    let names = shard_names(shards.len());
    let plans: BTreeMap<&str, &TensorPlan> =
        model.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let proof = model.take(|merged| {
        for (name, specs) in names.iter().zip(&shards) {
            // Every spec was made of a plan of the same name.
            write_quantized(&dir.join(name), specs, quantization, is_linear, |spec| {
                Ok::<_, CheckpointError>(merged.tensor(plans[spec.name.as_str()])?)
            })?;
        }
        Ok(())
    })?;
    if names.len() > 1 {
        let map = file_of.iter().map(|(part, file)| (part.as_str(), names[*file].as_str())).collect();
        write_index(dir, total_bytes, &map)?;
    }
    Ok(proof)
}
