//! Attention within texts that are short.

use tch::{Device, Kind, TchError, Tensor};
use torch_ext::custom_of;

use super::exponential::exp;
use super::gradient::as_torch;
use super::passes::plain;
use crate::element::{LANES, sum_of_lanes, times};
use crate::memory::{Chunks, elements, elements_mut, share};
use crate::widest::widest;

/// The longest text that is worth the memory of its scores, one for each head, one of [`QUERIES`] tokens and one of all.
const LONGEST_TEXT: i64 = 512;

/// Tokens whose scores are computed together: all of most texts, and of a longer one those with nearly the same keys.
const QUERIES: i64 = 128;

/// Numbers of scores that a thread works on at a time.
const BLOCK: usize = 16 << 10;

/// Computes causal attention, `softmax(q kᵀ / sqrt(D)) v` with each token seeing those before it and itself (Vaswani et al.,
/// 2017, arXiv 1706.03762, §3.2), within texts of `lens` tokens that lie one after another: `q` `[N, H, D]`, `k` and `v`
/// `[N, K, D]` to `[N, H·D]`. Query head `h` reads key head `h / (H / K)` (arXiv 2305.13245).
///
/// On a CPU, for texts of up to 512 tokens: two products of all heads for each 128 tokens, five for the gradients, with the keys
/// that they see, in float32 whatever the kind, and nothing is kept but `q`, `k` and `v`. `None` elsewhere. libtorch's own attention
/// makes products of 32 rows of one head, each of which costs more to begin than to compute.
///
/// # Errors
/// libtorch's, when memory is short.
pub fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    lens: &[i64],
) -> Result<Option<Tensor>, TchError> {
    if !fits(q, k, v, lens) {
        return Ok(None);
    }
    if ![q, k, v].iter().any(|tensor| tensor.requires_grad()) {
        return forward([q, k, v], lens).map(Some);
    }
    let (ahead, back) = (lens.to_vec(), lens.to_vec());
    custom_of(
        [(q, true), (k, true), (v, true)],
        move |inputs| forward([&inputs[0], &inputs[1], &inputs[2]], &ahead),
        move |grad, inputs, _| {
            let [q, k, v] = gradients(grad, [&inputs[0], &inputs[1], &inputs[2]], &back)?;
            Ok([Some(q), Some(k), Some(v)])
        },
    )
    .map(Some)
    .map_err(as_torch)
}

fn fits(q: &Tensor, k: &Tensor, v: &Tensor, lens: &[i64]) -> bool {
    let (&[tokens, heads, width], &[key_tokens, key_heads, key_width]) = (&q.size()[..], &k.size()[..])
    else {
        return false;
    };
    plain(&[q, k, v])
        && k.size() == v.size()
        && (key_tokens, key_width) == (tokens, width)
        && key_heads > 0
        && heads % key_heads == 0
        && lens.iter().sum::<i64>() == tokens
        && lens.iter().all(|len| (1..=LONGEST_TEXT).contains(len))
}

/// Tokens that follow each other in a text, as queries: for each key head, the heads that read it of one token after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queries {
    /// Tokens of the text before them.
    pub(super) start: usize,
    pub(super) tokens: usize,
    /// Heads that read one key head.
    pub(super) group: usize,
}

impl Queries {
    /// Counts the tokens that one of them sees at most.
    fn keys(self) -> usize {
        self.start + self.tokens
    }

    /// Counts the tokens that row `row` of all heads sees.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
    fn seen(self, row: usize) -> usize {
        self.start + row / self.group % self.tokens + 1
    }

    /// Takes their rows of `[K, T·H/K, D]`.
    fn of(self, heads: &Tensor) -> Result<Tensor, TchError> {
        heads.f_narrow(1, (self.start * self.group) as i64, (self.tokens * self.group) as i64)
    }

    /// Takes the keys, or values, that they see of `[K, T, D]`.
    fn seen_of(self, keys: &Tensor) -> Result<Tensor, TchError> {
        keys.f_narrow(1, 0, self.keys() as i64)
    }
}

/// One text: its first token, and its scores' products.
struct Text {
    start: i64,
    len: i64,
    key_heads: i64,
    group: i64,
    /// `1 / sqrt(D)`.
    scale: f32,
}

impl Text {
    /// Lists the texts.
    fn all(q: &Tensor, k: &Tensor, lens: &[i64]) -> Vec<Self> {
        let (key_heads, scale) = (k.size()[1], 1.0 / (q.size()[2] as f32).sqrt());
        let group = q.size()[1] / key_heads;
        let starts = lens.iter().scan(0, |end, len| {
            *end += len;
            Some(*end - len)
        });
        starts.zip(lens).map(|(start, &len)| Self { start, len, key_heads, group, scale }).collect()
    }

    /// Cuts its tokens into queries that are computed together.
    fn queries(&self) -> impl DoubleEndedIterator<Item = Queries> {
        let (len, group) = (self.len, self.group as usize);
        (0..(len + QUERIES - 1) / QUERIES).map(move |index| {
            let (start, end) = (index * QUERIES, len.min((index + 1) * QUERIES));
            Queries { start: start as usize, tokens: (end - start) as usize, group }
        })
    }

    /// Returns the key heads of `[N, H, D]` first, `[K, T, H/K, D]`, not copied.
    fn view(&self, xs: &Tensor) -> Result<Tensor, TchError> {
        let width = xs.size()[2];
        let part = xs.f_narrow(0, self.start, self.len)?;
        part.f_view([self.len, self.key_heads, -1, width])?.f_transpose(0, 1)
    }

    /// Copies them in float32: `[K, T·H/K, D]`.
    fn heads(&self, xs: &Tensor) -> Result<Tensor, TchError> {
        let view = self.view(xs)?;
        let (size, width) = (view.size(), xs.size()[2]);
        let mut heads = Tensor::f_empty(size, (Kind::Float, Device::Cpu))?;
        heads.f_copy_(&view)?;
        heads.f_view([self.key_heads, -1, width])
    }

    /// Writes heads of tokens from `start` on, `[K, n·H/K, D]`, in their place in `[N, H, D]`.
    fn put(&self, heads: &Tensor, xs: &Tensor, start: usize) -> Result<(), TchError> {
        let view = self.view(xs)?;
        let size = view.size();
        let heads = heads.f_view([size[0], -1, size[2], size[3]])?;
        view.f_narrow(1, start as i64, heads.size()[1])?.f_copy_(&heads)
    }

    /// Computes the weights of the values, a row of keys for each query: `q` `[K, rows, D]`, `k` `[K, keys, D]` to `[K, rows, keys]`.
    fn weights(&self, q: &Tensor, k: &Tensor, queries: Queries) -> Result<Tensor, TchError> {
        let mut weights = q.f_bmm(&k.f_transpose(1, 2)?)?;
        let keys = queries.keys();
        let rows = BLOCK.div_ceil(keys);
        share(Chunks::new(elements_mut::<f32>(&mut weights), rows * keys), |task, scores| {
            softmax_rows(scores, queries, task * rows, self.scale);
        });
        Ok(weights)
    }

    /// Computes the gradient of the scores before the softmax from that of the weights, in its place.
    fn gradient_of_scores(&self, weights: &Tensor, mut grad: Tensor, queries: Queries) -> Tensor {
        let (keys, weights) = (queries.keys(), elements::<f32>(weights));
        let rows = BLOCK.div_ceil(keys);
        share(Chunks::new(elements_mut::<f32>(&mut grad), rows * keys), |task, grad| {
            let first = task * rows;
            gradient_rows(&weights[first * keys..][..grad.len()], grad, queries, first, self.scale);
        });
        grad
    }
}

fn forward([q, k, v]: [&Tensor; 3], lens: &[i64]) -> Result<Tensor, TchError> {
    let out = q.f_empty_like()?; // [N, H, D]
    for text in Text::all(q, k, lens) {
        let [q, k, v] = [text.heads(q)?, text.heads(k)?, text.heads(v)?];
        for queries in text.queries() {
            let weights = text.weights(&queries.of(&q)?, &queries.seen_of(&k)?, queries)?;
            text.put(&weights.f_bmm(&queries.seen_of(&v)?)?, &out, queries.start)?;
        }
    }
    out.f_view([out.size()[0], -1])
}

/// Computes the gradients of `q`, `k` and `v`. With the weights `P` and the scores `S`: `dv = Pᵀ grad`, `dP = grad vᵀ`, `dS` from `dP`
/// through the softmax, `dq = dS k`, `dk = dSᵀ q`.
fn gradients(grad: &Tensor, [q, k, v]: [&Tensor; 3], lens: &[i64]) -> Result<[Tensor; 3], TchError> {
    let [of_q, of_k, of_v] = [q.f_empty_like()?, k.f_empty_like()?, v.f_empty_like()?];
    let grad = grad.f_contiguous()?.f_view_as(q)?;
    for text in Text::all(q, k, lens) {
        let [q, k, v, grad] = [text.heads(q)?, text.heads(k)?, text.heads(v)?, text.heads(&grad)?];
        // The last queries see all keys: to their sums those of the others are added.
        let mut sums: Option<[Tensor; 2]> = None;
        for queries in text.queries().rev() {
            let [q, grad] = [queries.of(&q)?, queries.of(&grad)?];
            let [k, v] = [queries.seen_of(&k)?, queries.seen_of(&v)?];
            let weights = text.weights(&q, &k, queries)?;
            let scores = text.gradient_of_scores(&weights, grad.f_bmm(&v.f_transpose(1, 2)?)?, queries);
            text.put(&scores.f_bmm(&k)?, &of_q, queries.start)?;
            let (weights, scores) = (weights.f_transpose(1, 2)?, scores.f_transpose(1, 2)?);
            if let Some([of_k, of_v]) = &sums {
                let _ = queries.seen_of(of_k)?.f_baddbmm_(&scores, &q)?;
                let _ = queries.seen_of(of_v)?.f_baddbmm_(&weights, &grad)?;
            } else {
                sums = Some([scores.f_bmm(&q)?, weights.f_bmm(&grad)?]);
            }
        }
        if let Some([keys, values]) = sums {
            text.put(&keys, &of_k, 0)?;
            text.put(&values, &of_v, 0)?;
        }
    }
    Ok([of_q, of_k, of_v])
}

widest! {
/// Makes weights of scores, `scale` times which are the logarithms, for rows of which the first is row `first` of all heads.
pub(super) fn softmax_rows(scores: &mut [f32], queries: Queries, first: usize, scale: f32) {
    for (index, row) in scores.chunks_exact_mut(queries.keys()).enumerate() {
        let (seen, unseen) = row.split_at_mut(queries.seen(first + index));
        let largest = largest(seen) * scale;
        let mut sums = [0f32; LANES];
        let (lanes, rest) = seen.as_chunks_mut::<LANES>();
        for lanes in lanes {
            for (lane, sum) in lanes.iter_mut().zip(&mut sums) {
                *lane = exp(*lane * scale - largest);
                *sum += *lane;
            }
        }
        let mut sum = sum_of_lanes(sums);
        for value in rest {
            *value = exp(*value * scale - largest);
            sum += *value;
        }
        let share = 1.0 / sum;
        for weight in seen {
            *weight *= share;
        }
        unseen.fill(0.0);
    }
}
}

widest! {
/// Makes `scale · P ∘ (dP - Σ P ∘ dP)` of `dP`, row by row.
fn gradient_rows(weights: &[f32], grads: &mut [f32], queries: Queries, first: usize, scale: f32) {
    let keys = queries.keys();
    for (index, (weights, grads)) in weights.chunks_exact(keys).zip(grads.chunks_exact_mut(keys)).enumerate() {
        let seen = queries.seen(first + index);
        let (grads, unseen) = grads.split_at_mut(seen);
        let weights = &weights[..seen];
        let mut sums = [0f32; LANES];
        let ((lanes, rest), (grad_lanes, grad_rest)) =
            (weights.as_chunks::<LANES>(), grads.as_chunks::<LANES>());
        for (weights, grads) in lanes.iter().zip(grad_lanes) {
            for (sum, product) in sums.iter_mut().zip(times(weights, grads)) {
                *sum += product;
            }
        }
        let mut sum = sum_of_lanes(sums);
        for (weight, grad) in rest.iter().zip(grad_rest) {
            sum += weight * grad;
        }
        for (grad, weight) in grads.iter_mut().zip(weights) {
            *grad = scale * weight * (*grad - sum);
        }
        unseen.fill(0.0);
    }
}
}

/// Returns the largest of some numbers.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
fn largest(numbers: &[f32]) -> f32 {
    let (lanes, rest) = numbers.as_chunks::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for lanes in lanes {
        for (most, &number) in most.iter_mut().zip(lanes) {
            *most = if number > *most { number } else { *most };
        }
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// libtorch's own operations, in float64, text by text.
    fn reference(q: &Tensor, k: &Tensor, v: &Tensor, lens: &[i64]) -> Tensor {
        let group = q.size()[1] / k.size()[1];
        let parts = |xs: &Tensor| xs.split_with_sizes(lens, 0);
        let heads = |xs: &Tensor| xs.transpose(0, 1).unsqueeze(0); // [1, H, T, D]
        let repeated = |xs: &Tensor| heads(xs).repeat_interleave_self_int(group, 1, None);
        let texts = parts(q).into_iter().zip(parts(k)).zip(parts(v));
        let outputs: Vec<Tensor> = texts
            .map(|((q, k), v)| {
                let (k, v) = (repeated(&k), repeated(&v));
                let out = Tensor::scaled_dot_product_attention(
                    &heads(&q),
                    &k,
                    &v,
                    None::<&Tensor>,
                    0.0,
                    true,
                    None,
                    false,
                );
                out.squeeze_dim(0).transpose(0, 1).reshape([q.size()[0], -1])
            })
            .collect();
        Tensor::cat(&outputs, 0)
    }

    fn random(shape: [i64; 3], kind: Kind) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind).set_requires_grad(true)
    }

    #[test]
    fn attention_and_gradients_equal_libtorchs_in_float64() {
        tch::manual_seed(12);
        for (kind, tolerance) in [(Kind::Float, 2e-6), (Kind::BFloat16, 6e-3), (Kind::Half, 8e-4)] {
            for (lens, heads, key_heads, width) in [
                (&[1i64][..], 1, 1, 4),
                (&[3, 1, 17], 4, 2, 8),
                (&[40, 33], 9, 3, 16),
                (&[300, 128, 129], 4, 2, 5),
            ] {
                let tokens = lens.iter().sum();
                let inputs = [heads, key_heads, key_heads].map(|heads| random([tokens, heads, width], kind));
                let [q, k, v] = &inputs;
                let grad = Tensor::randn([tokens, heads * width], (Kind::Float, Device::Cpu)).to_kind(kind);
                let ours = causal_attention(q, k, v, lens).unwrap().unwrap();
                assert_eq!(ours.kind(), kind);
                (&ours * &grad).sum(Kind::Float).backward();
                let double = |xs: &Tensor| xs.detach().to_kind(Kind::Double);
                let exact = inputs.each_ref().map(|xs| double(xs).set_requires_grad(true));
                let expected = reference(&exact[0], &exact[1], &exact[2], lens);
                (&expected * double(&grad)).sum(Kind::Double).backward();
                let grads = inputs.iter().zip(&exact).map(|(ours, exact)| (ours.grad(), exact.grad()));
                for (ours, exact) in [(ours, expected)].into_iter().chain(grads) {
                    let error = (double(&ours) - exact.detach()).abs().max().double_value(&[]);
                    let size = exact.abs().max().double_value(&[]).max(0.1);
                    assert!(error <= tolerance * size, "{kind:?} {lens:?}: {error} of {size}");
                }
            }
        }
    }

    #[test]
    fn a_token_reads_nothing_of_later_ones_and_of_other_texts() {
        let lens = [4, 3];
        let inputs = [2, 1, 1].map(|heads| random([7, heads, 8], Kind::Float).detach());
        let attended = |inputs: &[Tensor; 3]| {
            causal_attention(&inputs[0], &inputs[1], &inputs[2], &lens).unwrap().unwrap()
        };
        let before = attended(&inputs);
        for xs in &inputs[1..] {
            let _ = xs.narrow(0, 2, 1).fill_(9.0); // the third token of the first text
        }
        let same = attended(&inputs).eq_tensor(&before).all_dim(1, false);
        assert_eq!(Vec::<bool>::try_from(same).unwrap(), [true, true, false, false, true, true, true]);
    }

    #[test]
    fn long_texts_and_other_shapes_are_left_to_libtorch() {
        let xs = Tensor::zeros([LONGEST_TEXT + 1, 1, 2], (Kind::Float, Device::Cpu));
        assert!(causal_attention(&xs, &xs, &xs, &[LONGEST_TEXT + 1]).unwrap().is_none());
        assert!(causal_attention(&xs, &xs, &xs, &[2, 3]).unwrap().is_none());
        assert!(causal_attention(&xs, &xs, &xs, &[LONGEST_TEXT, 1]).unwrap().is_some());
    }
}
