//! Processing of the next token's scores before one is drawn, in the order and with the rounding of transformers
//! 4.57 (`generation/logits_process.py`, `GenerationMixin._get_logits_processor`).
//!
//! Scores are logits, or log-probabilities in a beam search: one number for each token of the vocabulary; a token that
//! is out has negative infinity.

use std::cmp::Ordering;

use crate::SamplingConfig;

/// Applies all that `sampling` asks for. `text` is the prompt and what was written behind it; at least `keep` tokens stay.
///
/// Temperature and the cuts behind it only count when a token is drawn at random.
pub(crate) fn process_scores(scores: &mut [f32], text: &[i64], sampling: &SamplingConfig, keep: usize) {
    repetition_penalty(scores, text, sampling.repetition_penalty);
    if sampling.do_sample {
        temperature(scores, sampling.temperature);
        top_k(scores, sampling.top_k, keep);
        top_p(scores, sampling.top_p, keep);
        min_p(scores, sampling.min_p, keep);
    }
}

/// Makes every token of `text` less likely, once each: positive scores are divided by `penalty`, negative ones multiplied
/// (Keskar et al., 2019, arXiv 1909.05858, §4.1).
fn repetition_penalty(scores: &mut [f32], text: &[i64], penalty: f64) {
    if is_one(penalty) {
        return;
    }
    let mut seen: Vec<usize> = text.iter().filter_map(|&id| usize::try_from(id).ok()).collect();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        if let Some(score) = scores.get_mut(id) {
            *score = if *score < 0.0 { *score * penalty as f32 } else { *score / penalty as f32 };
        }
    }
}

/// Divides the scores by `temperature`.
fn temperature(scores: &mut [f32], temperature: f64) {
    if !is_one(temperature) {
        for score in scores {
            *score /= temperature as f32;
        }
    }
}

/// Keeps the `k` best tokens, at least `keep`, and all that tie with the last of them; 0 keeps all.
fn top_k(scores: &mut [f32], k: usize, keep: usize) {
    if k == 0 || k.max(keep) >= scores.len() {
        return;
    }
    let floor = kth_largest(scores, k.max(keep));
    cut(scores, |score| score < floor);
}

/// Keeps the fewest best tokens that hold the probability `p` together, at least `keep` (Holtzman et al., 2019, arXiv
/// 1904.09751, §3.1).
fn top_p(scores: &mut [f32], p: f64, keep: usize) {
    if p >= 1.0 {
        return;
    }
    let Softmax { largest, total } = Softmax::of(scores);
    let rest = (1.0 - p) as f32;
    // Tokens this small are out even all together, so only the others have to be sorted.
    let small = f64::from(rest) / scores.len() as f64;
    let mut below = 0.0;
    let mut sorted = Vec::new();
    for (index, &score) in scores.iter().enumerate() {
        let probability = f64::from((score - largest).exp()) / total;
        if probability > small {
            sorted.push((score, index, probability));
        } else {
            below += probability;
        }
    }
    sorted.sort_unstable_by(|a, b| ascending(a.0, b.0).then(a.1.cmp(&b.1)));
    let mut out = 0;
    for (_, _, probability) in &sorted {
        below += probability;
        if below as f32 > rest {
            break;
        }
        out += 1;
    }
    if sorted.len() < keep {
        // Too few stand out: the best `keep` stay.
        let best = best(scores.iter().copied(), keep);
        retain(scores, best.into_iter().map(|(index, _)| index));
    } else {
        let kept = out.min(sorted.len() - keep);
        retain(scores, sorted.drain(kept..).map(|(_, index, _)| index));
    }
}

/// Keeps tokens of at least `p` times the probability of the best, at least `keep` tokens (Nguyen et al., 2024, arXiv
/// 2407.01082).
fn min_p(scores: &mut [f32], p: f64, keep: usize) {
    if p == 0.0 {
        return;
    }
    let Softmax { largest, total } = Softmax::of(scores);
    let total = total as f32;
    let floor = p as f32 * (1.0 / total);
    let stay: Vec<usize> = best(scores.iter().copied(), keep).into_iter().map(|(index, _)| index).collect();
    for (index, score) in scores.iter_mut().enumerate() {
        if (*score - largest).exp() / total < floor && !stay.contains(&index) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Returns the `n` largest of `scores` with their positions, best first; of equals, the one that comes first.
pub(crate) fn best(scores: impl Iterator<Item = f32>, n: usize) -> Vec<(usize, f32)> {
    let order = |a: &(usize, f32), b: &(usize, f32)| ascending(b.1, a.1).then(a.0.cmp(&b.0));
    let full = 4 * n + 64;
    let mut kept: Vec<(usize, f32)> = Vec::with_capacity(full);
    let mut floor = f32::NEG_INFINITY;
    for (index, score) in scores.enumerate() {
        if score > floor {
            kept.push((index, score));
            if kept.len() == full && n > 0 {
                kept.select_nth_unstable_by(n - 1, order);
                kept.truncate(n);
                floor = kept[n - 1].1;
            }
        }
    }
    kept.sort_unstable_by(order);
    kept.truncate(n);
    kept
}

/// Tells whether a factor is 1, which changes nothing.
#[expect(clippy::float_cmp, reason = "a setting, not a result")]
pub(crate) fn is_one(factor: f64) -> bool {
    factor == 1.0
}

/// Compares numbers; 0 and -0 are equal.
pub(crate) fn ascending(a: f32, b: f32) -> Ordering {
    (a + 0.0).total_cmp(&(b + 0.0))
}

fn kth_largest(scores: &[f32], k: usize) -> f32 {
    best(scores.iter().copied(), k).get(k - 1).map_or(f32::NEG_INFINITY, |&(_, score)| score)
}

fn cut(scores: &mut [f32], out: impl Fn(f32) -> bool) {
    scores.iter_mut().filter(|score| out(**score)).for_each(|score| *score = f32::NEG_INFINITY);
}

/// Puts every token out that `kept` does not name.
fn retain(scores: &mut [f32], kept: impl Iterator<Item = usize>) {
    let kept: Vec<(usize, f32)> = kept.map(|index| (index, scores[index])).collect();
    scores.fill(f32::NEG_INFINITY);
    for (index, score) in kept {
        scores[index] = score;
    }
}

/// Terms of the softmax `exp(score - largest) / total`.
struct Softmax {
    largest: f32,
    total: f64,
}

impl Softmax {
    fn of(scores: &[f32]) -> Self {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total = scores.iter().map(|&score| f64::from((score - largest).exp())).sum();
        Self { largest, total }
    }
}

#[cfg(test)]
mod tests;
