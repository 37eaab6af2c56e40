//! Which tokens of a batch may see which.

use kernels::TextEnds;
use nn_core::{NnError, TorchContext};
use tch::{Device, Kind, Tensor};

/// Sequences one after another: attention stays inside each.
#[derive(Debug)]
pub(crate) struct Sequences {
    lens: Vec<i64>,
    /// Their ends, where attention takes all of them at once.
    ends: Option<TextEnds>,
}

impl Sequences {
    /// Takes the lengths of sequences, and the place, the kind and the width of their heads.
    pub(crate) fn new(
        seq_lens: &[usize],
        device: Device,
        kind: Kind,
        head_dim: i64,
    ) -> Result<Self, NnError> {
        let lens: Vec<i64> = seq_lens.iter().filter(|&&len| len > 0).map(|&len| len as i64).collect();
        let ends = TextEnds::new(&lens, device, kind, head_dim).op("upload")?;
        Ok(Self { lens, ends })
    }

    pub(crate) fn shallow_clone(&self) -> Self {
        Self { lens: self.lens.clone(), ends: self.ends.as_ref().map(TextEnds::shallow_clone) }
    }

    /// Computes causal attention: `q` `[N, H, D]`, `k` and `v` `[N, K, D]` to `[N, H·D]`.
    ///
    /// Sequences of one length go through a single call; otherwise each costs what its own length costs.
    pub(crate) fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, NnError> {
        let Some(&first) = self.lens.first() else {
            let size = q.size();
            return Ok(q.f_reshape([size[0], size[1] * size[2]]).op("reshape")?);
        };
        if let Some(ends) = &self.ends {
            return Ok(ends.attend(q, k, v).op("flash_attention")?);
        }
        if let Some(attended) = kernels::causal_attention(q, k, v, &self.lens).op("causal_attention")? {
            return Ok(attended);
        }
        if self.lens.iter().all(|&len| len == first) {
            return causal(q, k, v, self.lens.len() as i64, first);
        }
        // One split has one gradient; that of a part taken by itself would be as long as the whole.
        let parts = |xs: &Tensor| xs.f_split_with_sizes(&self.lens, 0).op("split");
        let (q, k, v) = (parts(q)?, parts(k)?, parts(v)?);
        let texts = q.iter().zip(&k).zip(&v).zip(&self.lens);
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
