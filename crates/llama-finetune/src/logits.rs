//! Logits of texts in a file, for comparisons with other programs.

use std::path::Path;

use llama_model::Llama;
use nn_core::{Mode, TokenBatch, TorchContext};
use tch::{Device, Kind, Tensor, no_grad};
use weights::{SafetensorsWriter, TensorSpec};

use crate::FinetuneError;

/// Writes token ids and the model's logits at all their positions to a safetensors file: for text `N` `input_ids.N` `[T]`, int64,
/// and `logits.N` `[T, V]`, float32. One text is in memory at a time; the file appears complete or not at all.
///
/// # Errors
/// [`FinetuneError`] when the model fails or the file cannot be written.
pub fn write_logits(model: &Llama, texts: &[Vec<i64>], path: &Path) -> Result<(), FinetuneError> {
    let vocab_size = model.config().vocab_size;
    let specs = texts.iter().enumerate().flat_map(|(index, ids)| {
        let len = ids.len() as i64;
        [
            TensorSpec { name: format!("input_ids.{index}"), kind: Kind::Int64, shape: vec![len] },
            TensorSpec { name: format!("logits.{index}"), kind: Kind::Float, shape: vec![len, vocab_size] },
        ]
    });
    let writer = SafetensorsWriter::new(path, specs.collect(), &weights::pt_metadata())?;
    writer.write(|spec| {
        let (what, index) = spec.name.split_once('.').unwrap_or_default();
        let ids =
            index.parse::<usize>().ok().and_then(|index| texts.get(index)).map_or(&[][..], Vec::as_slice);
        if what == "input_ids" {
            return Ok(Tensor::f_from_slice(ids).op("from_slice")?);
        }
        no_grad(|| {
            let batch = TokenBatch::from_sequences([(ids, ids)]);
            let hidden = model.hidden_states(&batch, Mode::Eval)?; // [T, C]
            let logits = model.logits(&hidden)?.f_to_kind(Kind::Float).op("to_kind")?; // [T, V]
            Ok(logits.f_to_device(Device::Cpu).op("to_device")?.f_contiguous().op("contiguous")?)
        })
    })
}
