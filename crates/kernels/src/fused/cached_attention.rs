//! Attention of one new token to the cache of its text.

use tch::{TchError, Tensor};

use super::attention::{Queries, softmax_rows};
use super::passes::plain;
use crate::element::{Float, LANES, for_kind, sum_of_lanes, times};
use crate::memory::{Chunks, elements, elements_mut, share_out};
use crate::widest::widest;

/// Keys and values of fewer numbers are not worth waking threads for.
const SERIAL: usize = 16 << 10;

/// Puts the keys and values of one new token for each text into its row of a cache, and attends with the token's queries to all
/// that the row holds then: `softmax(q kᵀ / sqrt(D)) v` (Vaswani et al., 2017, arXiv 1706.03762, §3.2), in float32. `q`
/// `[n, H, D]`, `k` and `v` `[n, K, D]`, `keys` and `values` `[rows, K, capacity, D]`, to `[n, H·D]`. Query head `h` reads key head
/// `h / (H / K)` (arXiv 2305.13245). `texts`: for each token its row and the tokens that the row held before.
///
/// On a CPU alone; `None` elsewhere, where nothing is changed. A step of a few texts is too small for libtorch's attention, which
/// converts and packs them for products of matrices, and it knows texts of different lengths only by a mask.
///
/// # Errors
/// libtorch's, when memory is short.
pub fn append_and_attend(
    [q, k, v]: [&Tensor; 3],
    [keys, values]: [&mut Tensor; 2],
    texts: &[(usize, usize)],
) -> Result<Option<Tensor>, TchError> {
    if !fits([q, k, v], [keys, values], texts) {
        return Ok(None);
    }
    let kind = q.kind();
    for_kind!(kind, in_one_pass([q, k, v], [keys, values], texts), Ok(None))
}

fn fits([q, k, v]: [&Tensor; 3], [keys, values]: [&Tensor; 2], texts: &[(usize, usize)]) -> bool {
    let (&[tokens, heads, width], &[rows, key_heads, capacity, cache_width]) =
        (&q.size()[..], &keys.size()[..])
    else {
        return false;
    };
    plain(&[q, k, v, keys, values])
        && ![q, k, v].iter().any(|tensor| tensor.requires_grad())
        && values.size() == keys.size()
        && k.size() == [tokens, key_heads, width]
        && v.size() == k.size()
        && cache_width == width
        && width > 0
        && key_heads > 0
        && heads % key_heads == 0
        && texts.len() as i64 == tokens
        && texts.iter().all(|&(row, held)| (row as i64) < rows && (held as i64) < capacity)
}

fn in_one_pass<T: Float>(
    [q, k, v]: [&Tensor; 3],
    [keys, values]: [&mut Tensor; 2],
    texts: &[(usize, usize)],
) -> Result<Option<Tensor>, TchError> {
    let [key_heads, capacity, width] = [1, 2, 3].map(|dim| keys.size()[dim] as usize);
    let (tokens, heads) = (texts.len(), q.size()[1] as usize);
    for (cache, new) in [(&mut *keys, k), (&mut *values, v)] {
        let (cache, new) = (elements_mut::<T>(cache), elements::<T>(new));
        for (new, &(row, held)) in new.chunks_exact((key_heads * width).max(1)).zip(texts) {
            for (head, new) in new.chunks_exact(width.max(1)).enumerate() {
                let place = ((row * key_heads + head) * capacity + held) * width;
                cache[place..place + width].copy_from_slice(new);
            }
        }
    }
    let mut out = Tensor::f_empty([tokens as i64, (heads * width) as i64], (q.kind(), q.device()))?;
    let (q, keys, values) = (elements::<T>(q), elements::<T>(keys), elements::<T>(values));
    let group = heads / key_heads;
    let seen: usize = texts.iter().map(|&(_, held)| held + 1).sum();
    // The query heads that share a key head read it together, where there are enough of these for all threads.
    let together = if seen * key_heads * width <= SERIAL {
        tokens * heads
    } else if tokens * key_heads >= tch::get_num_threads().max(1) as usize {
        group
    } else {
        1
    };
    share_out(
        Chunks::new(elements_mut::<T>(&mut out), together * width),
        || [const { Vec::new() }; 3],
        |[queries, scores, sums], task, out| {
            let mut first = task * together;
            for out in out.chunks_mut(group.min(together) * width) {
                let (token, head) = (first / heads, first % heads);
                let (row, held) = texts[token];
                let place = (row * key_heads + head / group) * capacity * width;
                let seen = place..place + (held + 1) * width;
                let q = &q[first * width..][..out.len()];
                queries.resize(q.len(), 0.0);
                sums.resize(q.len(), 0.0);
                scores.resize(q.len() / width * (held + 1), 0.0);
                attend(q, &keys[seen.clone()], &values[seen], width, [queries, scores, sums], out);
                first += out.len() / width;
            }
        },
        drop,
    );
    Ok(Some(out))
}

/// Attends with some heads of one token, `q` `[heads, D]`, to `keys` and `values`, `[seen, D]`. `buffers`: `[heads, D]`,
/// `[heads, seen]`, `[heads, D]`.
fn attend<T: Float>(
    q: &[T],
    keys: &[T],
    values: &[T],
    width: usize,
    [queries, scores, sums]: [&mut [f32]; 3],
    out: &mut [T],
) {
    let seen = keys.len() / width;
    queries.iter_mut().zip(q).for_each(|(wide, q)| *wide = q.widen());
    scores_of(queries, keys, width, scores);
    // The text's last token, which sees all.
    let last = Queries { start: seen - 1, tokens: 1, group: 1 };
    softmax_rows(scores, last, 0, 1.0 / (width as f32).sqrt());
    weighted_sums(scores, values, width, sums);
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::narrow(*sum));
}

widest! {
/// Multiplies queries, `[heads, D]`, by keys, `[seen, D]`: `[heads, seen]`.
fn scores_of<T: Float>(queries: &[f32], keys: &[T], width: usize, scores: &mut [f32]) {
    let seen = keys.len() / width;
    for (place, key) in keys.chunks_exact(width).enumerate() {
        let (lanes, rest) = key.as_chunks::<LANES>();
        for (head, query) in queries.chunks_exact(width).enumerate() {
            let (query_lanes, query_rest) = query.as_chunks::<LANES>();
            let mut sums = [0f32; LANES];
            for (key, query) in lanes.iter().zip(query_lanes) {
                for (sum, product) in sums.iter_mut().zip(times(&T::widen_lanes(key), query)) {
                    *sum += product;
                }
            }
            let mut sum = sum_of_lanes(sums);
            for (key, query) in rest.iter().zip(query_rest) {
                sum += key.widen() * query;
            }
            scores[head * seen + place] = sum;
        }
    }
}
}

widest! {
/// Adds values, `[seen, D]`, up by their weights, `[heads, seen]`: `[heads, D]`.
fn weighted_sums<T: Float>(weights: &[f32], values: &[T], width: usize, sums: &mut [f32]) {
    let seen = values.len() / width;
    sums.fill(0.0);
    for (place, value) in values.chunks_exact(width).enumerate() {
        let (lanes, rest) = value.as_chunks::<LANES>();
        for (head, sums) in sums.chunks_exact_mut(width).enumerate() {
            let weight = weights[head * seen + place];
            let (sum_lanes, sum_rest) = sums.as_chunks_mut::<LANES>();
            for (value, sums) in lanes.iter().zip(sum_lanes) {
                for (sum, product) in sums.iter_mut().zip(times(&T::widen_lanes(value), &[weight; LANES])) {
                    *sum += product;
                }
            }
            for (value, sum) in rest.iter().zip(sum_rest) {
                *sum += weight * value.widen();
            }
        }
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn random(shape: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    /// libtorch's attention in float64, text by text.
    fn reference(q: &Tensor, keys: &Tensor, values: &Tensor, texts: &[(usize, usize)]) -> Tensor {
        let group = q.size()[1] / keys.size()[1];
        let outputs = texts.iter().enumerate().map(|(token, &(row, held))| {
            let of_row = |cache: &Tensor| {
                let seen = cache.select(0, row as i64).narrow(1, 0, held as i64 + 1);
                seen.to_kind(Kind::Double).repeat_interleave_self_int(group, 0, None) // [H, seen, D]
            };
            let q = q.select(0, token as i64).unsqueeze(1).to_kind(Kind::Double); // [H, 1, D]
            let none = None::<&Tensor>;
            let (keys, values) = (of_row(keys), of_row(values));
            Tensor::scaled_dot_product_attention(&q, &keys, &values, none, 0.0, false, None, false).view([-1])
        });
        Tensor::stack(&outputs.collect::<Vec<_>>(), 0)
    }

    #[test]
    fn a_new_token_is_kept_and_attends_as_libtorchs_attention_does() {
        tch::manual_seed(21);
        for (kind, tolerance) in [(Kind::Float, 2e-6), (Kind::BFloat16, 4e-3), (Kind::Half, 6e-4)] {
            for (heads, key_heads, width, texts) in [
                (4, 2, 16, &[(0usize, 0usize)][..]),
                (9, 3, 64, &[(2, 41), (0, 3), (1, 90)]),
                (6, 1, 20, &[(1, 700)]),
                (8, 4, 64, &[(0, 600), (2, 511), (1, 2)]),
            ] {
                let (tokens, cache) = (texts.len() as i64, [3, key_heads, 701, width]);
                let (mut keys, mut values) = (random(&cache, kind), random(&cache, kind));
                let [q, k, v] =
                    [heads, key_heads, key_heads].map(|heads| random(&[tokens, heads, width], kind));
                let (mut kept_keys, mut kept_values) = (keys.copy(), values.copy());
                let ours = append_and_attend([&q, &k, &v], [&mut keys, &mut values], texts).unwrap().unwrap();
                for (token, &(row, held)) in texts.iter().enumerate() {
                    for (kept, new) in [(&mut kept_keys, &k), (&mut kept_values, &v)] {
                        let mut place = kept.select(0, row as i64).select(1, held as i64);
                        place.copy_(&new.select(0, token as i64));
                    }
                }
                assert!(keys.equal(&kept_keys) && values.equal(&kept_values), "{kind:?} {texts:?}");
                let exact = reference(&q, &keys, &values, texts);
                let error = (ours.to_kind(Kind::Double) - &exact).abs().max().double_value(&[]);
                let size = exact.abs().max().double_value(&[]);
                assert!(error <= tolerance * size, "{kind:?} {texts:?}: {error} of {size}");
            }
        }
    }

    #[test]
    fn places_that_are_not_there_are_left_to_libtorch() {
        let [mut keys, mut values] = [0, 1].map(|_| Tensor::zeros([1, 1, 4, 8], (Kind::Float, Device::Cpu)));
        let xs = Tensor::ones([1, 1, 8], (Kind::Float, Device::Cpu));
        for (texts, fits) in [(&[(0, 3)][..], true), (&[(0, 4)], false), (&[(1, 0)], false), (&[], false)] {
            let ours = append_and_attend([&xs, &xs, &xs], [&mut keys, &mut values], texts).unwrap();
            assert_eq!(ours.is_some(), fits, "{texts:?}");
        }
        assert_eq!(keys.count_nonzero(None).int64_value(&[]), 8);
    }
}
