//! Rows of projections, in the order of files that are not Hugging Face's.

use nn_core::{NnError, TorchContext};
use tch::Tensor;

/// Rows of whole heads from the two halves of transformers to the neighbouring pairs of Meta and llama.cpp
/// (`unpermute` of alpaca-lora's `export_state_dict_checkpoint.py`; the inverse of `permute` in transformers'
/// `convert_llama_weights_to_hf.py`).
///
/// `rows`: `[heads · head_dim, ..]`; the same comes back.
///
/// # Errors
/// [`NnError::Torch`] when there are not whole heads.
pub fn to_pairs(rows: &Tensor, head_dim: i64) -> Result<Tensor, NnError> {
    let shape = rows.size();
    let heads = shape.first().copied().unwrap_or(0) / head_dim.max(1);
    let halves = rows.f_reshape([heads, 2, head_dim / 2, -1]).op("reshape")?; // [heads, 2, D/2, ..]
    Ok(halves.f_transpose(1, 2).op("transpose")?.f_reshape(shape.as_slice()).op("reshape")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_each_head_are_interleaved() {
        let rows = to_pairs(&Tensor::from_slice(&[0i64, 2, 1, 3, 10, 12, 11, 13]), 4).unwrap();
        assert_eq!(Vec::<i64>::try_from(rows).unwrap(), [0, 1, 2, 3, 10, 11, 12, 13]);
    }
}
