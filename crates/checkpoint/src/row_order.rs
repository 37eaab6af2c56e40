//! Order of rotary features, in the files that have it otherwise than Hugging Face's.
//!
//! Meta and llama.cpp rotate neighbouring pairs of features, `(0, 1), (2, 3), …`; transformers rotates the two halves of a
//! head against each other. The rows of query and key projections are in that order.

use llama_model::TensorName;
use nn_core::{NnError, TorchContext};
use tch::Tensor;

/// Tells whether the rows of the tensor that Hugging Face calls `name` are rotated.
fn is_rotated(name: &str) -> bool {
    TensorName::parse(name).is_some_and(|tensor| tensor.module.rotated)
}

/// Returns the order that the rows of each head of `name` get in a file of pairs (`unpermute` of alpaca-lora's
/// `export_state_dict_checkpoint.py`); none where they stay.
pub(crate) fn order_in_pairs(name: &str, head_dim: i64) -> Vec<i64> {
    let half = head_dim / 2;
    if is_rotated(name) { (0..half).flat_map(|row| [row, half + row]).collect() } else { Vec::new() }
}

/// Brings the rows of `name` from a file of pairs into Hugging Face's order (`convert_llama_weights_to_hf.py`,
/// `permute`).
///
/// `tensor`: `[heads · D, in]`, or `[heads · D]` for a bias; the same comes back.
pub(crate) fn from_pairs(name: &str, tensor: Tensor, head_dim: i64) -> Result<Tensor, NnError> {
    if is_rotated(name) { to_halves(&tensor, head_dim) } else { Ok(tensor) }
}

fn to_halves(rows: &Tensor, head_dim: i64) -> Result<Tensor, NnError> {
    let shape = rows.size();
    let heads = shape.first().copied().unwrap_or(0) / head_dim.max(1);
    let pairs = rows.f_reshape([heads, head_dim / 2, 2, -1]).op("reshape")?; // [heads, D/2, 2, in]
    Ok(pairs.f_transpose(1, 2).op("transpose")?.f_reshape(shape.as_slice()).op("reshape")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_features_of_each_head_come_first() {
        let rows = to_halves(&Tensor::from_slice(&[0i64, 1, 2, 3, 10, 11, 12, 13]), 4).unwrap();
        assert_eq!(Vec::<i64>::try_from(rows).unwrap(), [0, 2, 1, 3, 10, 12, 11, 13]);
    }

    #[test]
    fn reading_undoes_writing() {
        let heads = Tensor::arange(6 * 16 * 3, (tch::Kind::Float, tch::Device::Cpu)).view([6, 16, 3]);
        let order = order_in_pairs("model.layers.0.self_attn.q_proj.weight", 16);
        let written = heads.index_select(1, &Tensor::from_slice(&order)).view([96, 3]);
        assert!(to_halves(&written, 16).unwrap().equal(&heads.view([96, 3])));
    }
}
