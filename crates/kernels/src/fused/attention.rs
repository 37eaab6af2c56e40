//! Attention within texts that are short.

use tch::{Device, Kind, TchError, Tensor};
use torch_ext::custom_of;

use super::exponential::exp;
use super::gradient::as_torch;
use super::passes::plain;
use crate::element::{LANES, sum_of_lanes, times};
use crate::memory::{Chunks, elements, elements_mut, share};
use crate::widest::widest;

/// The longest text whose scores, one for each head and pair of tokens, are worth the memory.
const LONGEST_TEXT: i64 = 512;

/// Numbers of scores that a thread works on at a time.
const BLOCK: usize = 16 << 10;

/// Computes causal attention, `softmax(q kᵀ / sqrt(D)) v` with each token seeing those before it and itself (Vaswani et al.,
/// 2017, arXiv 1706.03762, §3.2), within texts of `lens` tokens that lie one after another: `q` `[N, H, D]`, `k` and `v`
/// `[N, K, D]` to `[N, H·D]`. Query head `h` reads key head `h / (H / K)` (arXiv 2305.13245).
///
/// On a CPU, for texts of up to 512 tokens: two products of all heads for each text, five for the gradients, in
/// float32 whatever the kind, and nothing is kept but `q`, `k` and `v`. `None` elsewhere. libtorch's own attention makes
/// products of 32 rows of one head, each of which costs more to begin than to compute.
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

/// One text: its first token, and its scores' products.
struct Text {
    start: i64,
    len: i64,
    key_heads: i64,
    /// `1 / sqrt(D)`.
    scale: f32,
}

impl Text {
    /// Lists the texts.
    fn all(q: &Tensor, k: &Tensor, lens: &[i64]) -> Vec<Self> {
        let (key_heads, width) = (k.size()[1], q.size()[2]);
        let scale = 1.0 / (width as f32).sqrt();
        let starts = lens.iter().scan(0, |end, len| {
            *end += len;
            Some(*end - len)
        });
        starts.zip(lens).map(|(start, &len)| Self { start, len, key_heads, scale }).collect()
    }

    /// Returns the tokens of `[N, H, D]` with the heads first, `[K, H/K, T, D]`, not copied.
    fn view(&self, xs: &Tensor) -> Result<Tensor, TchError> {
        let width = xs.size()[2];
        let part = xs.f_narrow(0, self.start, self.len)?;
        part.f_view([self.len, self.key_heads, -1, width])?.f_permute([1, 2, 0, 3])
    }

    /// Copies them in float32: `[K, H/K·T, D]`.
    fn heads(&self, xs: &Tensor) -> Result<Tensor, TchError> {
        let view = self.view(xs)?;
        let (size, width) = (view.size(), xs.size()[2]);
        let mut heads = Tensor::f_empty(size, (Kind::Float, Device::Cpu))?;
        heads.f_copy_(&view)?;
        heads.f_view([self.key_heads, -1, width])
    }

    /// Writes heads, `[K, H/K·T, D]`, in their place in `[N, H, D]`.
    fn put(&self, heads: &Tensor, xs: &Tensor) -> Result<(), TchError> {
        let mut view = self.view(xs)?;
        view.f_copy_(&heads.f_view(&view.size()[..])?)
    }

    /// Computes the weights of the values, `[K, H/K·T, T]`.
    fn weights(&self, q: &Tensor, k: &Tensor) -> Result<Tensor, TchError> {
        let mut weights = q.f_bmm(&k.f_transpose(1, 2)?)?;
        let len = self.len as usize;
        let rows = BLOCK.div_ceil(len);
        share(Chunks::new(elements_mut::<f32>(&mut weights), rows * len), |task, scores| {
            softmax_rows(scores, len, task * rows, self.scale);
        });
        Ok(weights)
    }

    /// Computes the gradient of the scores before the softmax from that of the weights, in its place.
    fn gradient_of_scores(&self, weights: &Tensor, mut grad: Tensor) -> Tensor {
        let (len, weights) = (self.len as usize, elements::<f32>(weights));
        let rows = BLOCK.div_ceil(len);
        share(Chunks::new(elements_mut::<f32>(&mut grad), rows * len), |task, grad| {
            let first = task * rows;
            gradient_rows(&weights[first * len..][..grad.len()], grad, len, first, self.scale);
        });
        grad
    }
}

fn forward([q, k, v]: [&Tensor; 3], lens: &[i64]) -> Result<Tensor, TchError> {
    let out = q.f_empty_like()?; // [N, H, D]
    for text in Text::all(q, k, lens) {
        let weights = text.weights(&text.heads(q)?, &text.heads(k)?)?;
        text.put(&weights.f_bmm(&text.heads(v)?)?, &out)?;
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
        let weights = text.weights(&q, &k)?;
        text.put(&weights.f_transpose(1, 2)?.f_bmm(&grad)?, &of_v)?;
        let scores = text.gradient_of_scores(&weights, grad.f_bmm(&v.f_transpose(1, 2)?)?);
        text.put(&scores.f_bmm(&k)?, &of_q)?;
        text.put(&scores.f_transpose(1, 2)?.f_bmm(&q)?, &of_k)?;
    }
    Ok([of_q, of_k, of_v])
}

widest! {
/// Makes weights of scores, `scale` times which are the logarithms, for rows of which the first is row `first` of all heads.
pub(super) fn softmax_rows(scores: &mut [f32], len: usize, first: usize, scale: f32) {
    for (index, row) in scores.chunks_exact_mut(len).enumerate() {
        let (seen, unseen) = row.split_at_mut((first + index) % len + 1);
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
fn gradient_rows(weights: &[f32], grads: &mut [f32], len: usize, first: usize, scale: f32) {
    for (index, (weights, grads)) in weights.chunks_exact(len).zip(grads.chunks_exact_mut(len)).enumerate() {
        let seen = (first + index) % len + 1;
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
            for (lens, heads, key_heads, width) in
                [(&[1i64][..], 1, 1, 4), (&[3, 1, 17], 4, 2, 8), (&[40, 33], 9, 3, 16), (&[300], 2, 2, 5)]
            {
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
