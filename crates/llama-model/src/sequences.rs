//! Which tokens of a batch may see which.

use nn_core::{NnError, TorchContext};
use tch::Tensor;

/// Sequences one after another: attention stays inside each.
#[derive(Debug, Clone)]
pub(crate) struct Sequences(Vec<i64>);

impl Sequences {
    pub(crate) fn new(seq_lens: &[usize]) -> Self {
        Self(seq_lens.iter().filter(|&&len| len > 0).map(|&len| len as i64).collect())
    }

    /// Computes causal attention: `q` `[N, H, D]`, `k` and `v` `[N, K, D]` to `[N, H·D]`.
    ///
    /// Sequences of one length go through a single call; otherwise each costs what its own length costs.
    pub(crate) fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, NnError> {
        let Some(&first) = self.0.first() else {
            let size = q.size();
            return Ok(q.f_reshape([size[0], size[1] * size[2]]).op("reshape")?);
        };
        if let Some(attended) = kernels::causal_attention(q, k, v, &self.0).op("causal_attention")? {
            return Ok(attended);
        }
        if self.0.iter().all(|&len| len == first) {
            return causal(q, k, v, self.0.len() as i64, first);
        }
        // One split has one gradient; that of a part taken by itself would be as long as the whole.
        let parts = |xs: &Tensor| xs.f_split_with_sizes(&self.0, 0).op("split");
        let (q, k, v) = (parts(q)?, parts(k)?, parts(v)?);
        let texts = q.iter().zip(&k).zip(&v).zip(&self.0);
        let outputs = texts.map(|(((q, k), v), &len)| causal(q, k, v, 1, len));
        Ok(Tensor::f_cat(&outputs.collect::<Result<Vec<_>, _>>()?, 0).op("cat")?)
    }
}

/// Attends within `batch` sequences of `len` tokens: `[batch·len, H, D]` to `[batch·len, H·D]`.
fn causal(q: &Tensor, k: &Tensor, v: &Tensor, batch: i64, len: i64) -> Result<Tensor, NnError> {
    let (heads, width) = (q.size()[1], q.size()[2]);
    let split = |xs: &Tensor| -> Result<Tensor, NnError> {
        let xs = xs.f_view([batch, len, xs.size()[1], width]).op("view")?;
        Ok(xs.f_transpose(1, 2).op("transpose")?) // [B, H, T, D]
    };
    let grouped = k.size()[1] != heads;
    let output = Tensor::f_scaled_dot_product_attention(
        &split(q)?,
        &split(k)?,
        &split(v)?,
        None::<&Tensor>,
        0.0,
        true,
        None,
        grouped,
    )
    .op("scaled_dot_product_attention")?; // [B, H, T, D]
    let output = output.f_transpose(1, 2).op("transpose")?;
    Ok(output.f_reshape([batch * len, heads * width]).op("reshape")?)
}
