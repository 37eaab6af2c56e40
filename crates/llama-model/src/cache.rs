//! Keys and values of one layer, for every row of a session.

use nn_core::{NnError, TorchContext};
use tch::{Device, Kind, Tensor};

/// `[rows, K, capacity, D]` each, allocated once; a row is valid up to its length, which the session keeps.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

/// Places in the cache of the tokens of one step, and the mask of what each sees.
#[derive(Debug)]
pub(crate) struct StepPlaces {
    /// Rows that take part, `n`.
    pub(crate) rows: i64,
    /// Positions that some row sees, the new one included.
    pub(crate) seen: i64,
    /// Row of each new token and the tokens that it holds before, `n`; empty where the host does not know them.
    pub(crate) texts: Vec<(usize, usize)>,
    /// Row and position of each new token, `[n]` each; `None` when it is rows `0..n` at position `seen - 1`.
    pub(crate) scattered: Option<(Tensor, Tensor)>,
    /// True when the rows are `0..n` in order.
    pub(crate) in_order: bool,
    /// 0 where a row may look and -inf elsewhere, `[n, 1, 1, seen]`; `None` when all rows are of one length.
    pub(crate) mask: Option<Tensor>,
}

impl LayerCache {
    /// Zeros, not whatever the memory held: a masked position is multiplied by zero, and zero times NaN is NaN.
    pub(crate) fn new(shape: [i64; 4], options: (Kind, Device)) -> Result<Self, NnError> {
        let zeros = || Tensor::f_zeros(shape, options).op("zeros");
        Ok(Self { keys: zeros()?, values: zeros()? })
    }

    /// Puts the keys and values of a whole prompt, `[T, K, D]`, at the start of a row.
    pub(crate) fn write_prompt(&mut self, row: i64, k: &Tensor, v: &Tensor) -> Result<(), NnError> {
        for (kept, new) in [(&self.keys, k), (&self.values, v)] {
            let new = new.f_transpose(0, 1).op("transpose")?; // [K, T, D]
            span(kept, row, 0, new.size()[1])?.f_copy_(&new).op("copy_")?;
        }
        Ok(())
    }

    /// Appends one token to each row of `at` and attends to all that each row holds: `q` `[n, H, D]`, `k` and `v`
    /// `[n, K, D]` to `[n, H·D]`.
    pub(crate) fn append_and_attend(
        &mut self,
        at: &StepPlaces,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<Tensor, NnError> {
        let caches = [&mut self.keys, &mut self.values];
        if let Some(attended) =
            kernels::append_and_attend([q, k, v], caches, &at.texts).op("append_and_attend")?
        {
            return Ok(attended);
        }
        for (kept, new) in [(&self.keys, k), (&self.values, v)] {
            if let Some((rows, positions)) = &at.scattered {
                // [rows, capacity, K, D] at (row, its length) takes [n, K, D].
                let mut by_position = kept.f_transpose(1, 2).op("transpose")?;
                let places = [Some(rows), Some(positions)];
                let _ = by_position.f_index_put_(&places, new, false).op("index_put_")?;
            } else {
                let place =
                    kept.f_narrow(0, 0, at.rows).op("narrow")?.f_select(2, at.seen - 1).op("select")?;
                let mut place = place; // [n, K, D]
                place.f_copy_(new).op("copy_")?;
            }
        }
        attend(q, &at.prefix(&self.keys)?, &at.prefix(&self.values)?, at.mask.as_ref())
    }

    /// Copies positions `start..start + len` between rows, for all (from, to) of `copies` at once.
    pub(crate) fn copy_rows(&mut self, copies: &[RowCopy], overlapping: bool) -> Result<(), NnError> {
        for kept in [&self.keys, &self.values] {
            if overlapping {
                let sources =
                    copies.iter().map(|copy| Ok(copy.source(kept)?.f_detach_copy().op("detach_copy")?));
                let sources = sources.collect::<Result<Vec<Tensor>, NnError>>()?;
                for (copy, source) in copies.iter().zip(&sources) {
                    copy.target(kept)?.f_copy_(source).op("copy_")?;
                }
            } else {
                for copy in copies {
                    copy.target(kept)?.f_copy_(&copy.source(kept)?).op("copy_")?;
                }
            }
        }
        Ok(())
    }
}

impl StepPlaces {
    /// Returns the part of a cache that the step reads, `[n, K, seen, D]`: a view when the rows lie in order.
    fn prefix(&self, kept: &Tensor) -> Result<Tensor, NnError> {
        let kept = kept.f_narrow(2, 0, self.seen).op("narrow")?;
        Ok(match &self.scattered {
            Some((rows, _)) if !self.in_order => kept.f_index_select(0, rows).op("index_select")?,
            _ => kept.f_narrow(0, 0, self.rows).op("narrow")?,
        })
    }
}

/// A part of a row that another row gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowCopy {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) start: i64,
    pub(crate) len: i64,
}

impl RowCopy {
    fn source(&self, kept: &Tensor) -> Result<Tensor, NnError> {
        span(kept, self.from, self.start, self.len)
    }

    fn target(&self, kept: &Tensor) -> Result<Tensor, NnError> {
        span(kept, self.to, self.start, self.len)
    }
}

/// Returns a view of positions `start..start + len` of one row, `[K, len, D]`.
fn span(kept: &Tensor, row: i64, start: i64, len: i64) -> Result<Tensor, NnError> {
    Ok(kept.f_select(0, row).op("select")?.f_narrow(1, start, len).op("narrow")?)
}

/// Attends with one query per head over all keys of its row. The query heads that share a key head stand as its queries, so
/// keys and values are read where they are, once: `q` `[n, H, D]`, `k` and `v` `[n, K, S, D]` to `[n, H·D]`.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, NnError> {
    let (size, key_heads) = (q.size(), k.size()[1]);
    let (rows, heads, width) = (size[0], size[1], size[2]);
    let group = heads / key_heads;
    let q = q.f_view([rows, key_heads, group, width]).op("view")?; // [n, K, H/K, D]
    let mask =
        mask.map(|mask| mask.f_expand([rows, 1, group, mask.size()[3]], false).op("expand")).transpose()?;
    let output = Tensor::f_scaled_dot_product_attention(&q, k, v, mask.as_ref(), 0.0, false, None, false)
        .op("scaled_dot_product_attention")?; // [n, K, H/K, D]
    Ok(output.f_reshape([rows, heads * width]).op("reshape")?)
}
