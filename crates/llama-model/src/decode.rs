//! Continuing sequences with a cache of keys and values.

use nn_core::{CausalLm, DecodeSession, Mode, NnError, TorchContext};
use tch::{Kind, Tensor};

use crate::Llama;

/// Keys and values of one layer, `[B, K, capacity, D]` each, allocated once.
#[derive(Debug)]
struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

/// A batch of sequences in the making. Row `b` of the caches is valid up to `lens[b]`.
#[derive(Debug)]
struct Session<'a> {
    model: &'a Llama,
    caches: Vec<LayerCache>,
    lens: Vec<i64>,
    capacity: i64,
}

impl CausalLm for Llama {
    fn prefill<'a>(
        &'a self,
        prompts: &[Vec<i64>],
        max_new_tokens: usize,
    ) -> Result<(Box<dyn DecodeSession + 'a>, Tensor), NnError> {
        tch::no_grad(|| {
            let (session, logits) = Session::open(self, prompts, max_new_tokens)?;
            Ok((Box::new(session) as Box<dyn DecodeSession + 'a>, logits))
        })
    }
}

impl<'a> Session<'a> {
    /// Prompts are padded on the right: a pad comes after every real token of its row, so no real token sees it, and
    /// its keys are overwritten before the row grows that far.
    fn open(
        model: &'a Llama,
        prompts: &[Vec<i64>],
        max_new_tokens: usize,
    ) -> Result<(Self, Tensor), NnError> {
        let config = model.config();
        let rows = prompts.len() as i64;
        let lens: Vec<i64> = prompts.iter().map(|prompt| prompt.len() as i64).collect();
        let longest = lens.iter().copied().max().unwrap_or(0);
        let capacity = longest + max_new_tokens as i64;
        let mut ids = Vec::with_capacity((rows * longest) as usize);
        for prompt in prompts {
            ids.extend_from_slice(prompt);
            ids.resize(ids.len() + longest as usize - prompt.len(), 0);
        }
        let shape = [rows, config.num_key_value_heads, capacity, config.head_dim];
        let options = (model.kind(), model.device());
        let caches = (0..config.num_hidden_layers)
            .map(|_| {
                let zeros = || Tensor::f_zeros(shape, options).op("zeros");
                Ok(LayerCache { keys: zeros()?, values: zeros()? })
            })
            .collect::<Result<Vec<_>, NnError>>()?;
        let positions: Vec<i64> = (0..rows).flat_map(|_| 0..longest).collect();
        let rotation = model.rotation(&model.indices(&positions)?)?;
        let mut hidden = model.embed(&ids)?; // [B·T, C]
        for (index, cache) in caches.iter().enumerate() {
            hidden = model.layer(index).forward(&hidden, &rotation, Mode::Eval, |q, k, v| {
                let rows_first = |xs: &Tensor| -> Result<Tensor, NnError> {
                    let xs = xs.f_view([rows, longest, -1, config.head_dim]).op("view")?;
                    Ok(xs.f_transpose(1, 2).op("transpose")?) // [B, K, T, D]
                };
                let (q, k, v) = (rows_first(q)?, rows_first(k)?, rows_first(v)?);
                for (kept, new) in [(&cache.keys, &k), (&cache.values, &v)] {
                    kept.f_narrow(2, 0, longest).op("narrow")?.f_copy_(new).op("copy_")?;
                }
                merge_heads(&attention(&q, &k, &v, None)?, rows * longest)
            })?;
        }
        let last: Vec<i64> =
            lens.iter().enumerate().map(|(row, len)| row as i64 * longest + len - 1).collect();
        let hidden = hidden.f_index_select(0, &model.indices(&last)?).op("index_select")?; // [B, C]
        let logits = model.logits(&model.final_norm(&hidden)?)?;
        Ok((Self { model, caches, lens, capacity }, logits))
    }

    fn advance(&mut self, next: &[i64]) -> Result<Tensor, NnError> {
        let (model, rows) = (self.model, self.lens.len() as i64);
        if next.len() != self.lens.len() || self.lens.iter().any(|&len| len >= self.capacity) {
            return Err(NnError::Batch {
                tokens: next.len(),
                labels: self.lens.len(),
                in_sequences: self.capacity as usize,
            });
        }
        let head_dim = model.config().head_dim;
        let positions = model.indices(&self.lens)?; // [B]
        let rotation = model.rotation(&positions)?;
        let seen = self.lens.iter().copied().max().unwrap_or(0) + 1;
        let slots = Tensor::f_arange(seen, (Kind::Int64, model.device())).op("arange")?;
        // Row b sees its own tokens 0..=lens[b].
        let mask = slots.f_le_tensor(&positions.f_view([rows, 1, 1, 1]).op("view")?).op("le")?; // [B, 1, 1, seen]
        let row_index = Tensor::f_arange(rows, (Kind::Int64, model.device())).op("arange")?;
        let mut hidden = model.embed(next)?; // [B, C]
        for (index, cache) in self.caches.iter_mut().enumerate() {
            hidden = model.layer(index).forward(&hidden, &rotation, Mode::Eval, |q, k, v| {
                for (kept, new) in [(&mut cache.keys, k), (&mut cache.values, v)] {
                    // [B, capacity, K, D] at (row, its length) takes [B, K, D].
                    let mut by_position = kept.f_transpose(1, 2).op("transpose")?;
                    let _ = by_position
                        .f_index_put_(&[Some(&row_index), Some(&positions)], new, false)
                        .op("index_put_")?;
                }
                let q = q.f_view([rows, -1, 1, head_dim]).op("view")?; // [B, H, 1, D]
                let keys = cache.keys.f_narrow(2, 0, seen).op("narrow")?;
                let values = cache.values.f_narrow(2, 0, seen).op("narrow")?;
                merge_heads(&attention(&q, &keys, &values, Some(&mask))?, rows)
            })?;
        }
        self.lens.iter_mut().for_each(|len| *len += 1);
        model.logits(&model.final_norm(&hidden)?)
    }
}

impl DecodeSession for Session<'_> {
    fn step(&mut self, next: &[i64]) -> Result<Tensor, NnError> {
        tch::no_grad(|| self.advance(next))
    }
}

/// `[B, H, T, D]` queries over `[B, K, S, D]` keys and values; causal when there is no mask.
fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, NnError> {
    let grouped = q.size()[1] != k.size()[1];
    Ok(Tensor::f_scaled_dot_product_attention(q, k, v, mask, 0.0, mask.is_none(), None, grouped)
        .op("scaled_dot_product_attention")?)
}

/// `[B, H, T, D]` to `[B·T, H·D]`.
fn merge_heads(heads: &Tensor, tokens: i64) -> Result<Tensor, NnError> {
    Ok(heads.f_transpose(1, 2).op("transpose")?.f_reshape([tokens, -1]).op("reshape")?)
}
