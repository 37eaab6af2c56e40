//! The order of rotary features in checkpoints that are not Hugging Face's.

use nn_core::{NnError, TorchContext};
use tch::Tensor;

/// Rows of a query or key projection from neighbouring pairs `(0, 1), (2, 3), …`, as Meta and llama.cpp rotate them, to
/// the two halves `0…D/2, D/2…D` of transformers (`convert_llama_weights_to_hf.py`, `permute`).
///
/// `weight`: `[heads · D, in]`, or `[heads · D]` for a bias; the same comes back.
pub(crate) fn to_halves(weight: &Tensor, heads: i64) -> Result<Tensor, NnError> {
    let shape = weight.size();
    let half = shape[0] / heads.max(1) / 2;
    let pairs = weight.f_reshape([heads, half, 2, -1]).op("reshape")?; // [heads, D/2, 2, in]
    Ok(pairs.f_transpose(1, 2).op("transpose")?.f_reshape(shape.as_slice()).op("reshape")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_features_of_each_head_come_first() {
        let rows = to_halves(&Tensor::from_slice(&[0i64, 1, 2, 3, 10, 11, 12, 13]), 2).unwrap();
        assert_eq!(Vec::<i64>::try_from(rows).unwrap(), [0, 2, 1, 3, 10, 12, 11, 13]);
    }
}
