//! Perplexity: the measure of how well a model predicts a text.

use nn_core::{IGNORE_INDEX, NnError, TokenBatch};

use crate::InferError;

/// Perplexity of a model over some texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// `exp(mean_nll)`.
    pub perplexity: f64,
    /// Mean negative log-probability, in nats per token: every token counts alike, whatever text it is in.
    pub mean_nll: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
}

/// Computes the perplexity over batches with labels: the windows of a text ([`windows`]), or Alpaca examples. `nll_sum` gives
/// the sum of the negative log-probabilities of a batch's targets.
///
/// # Errors
/// [`InferError::NothingToPredict`] when no batch has a target; [`InferError::NotFinite`], without a name, when a sum is NaN or
/// infinite; [`InferError::Model`] when the model fails.
pub fn perplexity(
    batches: impl IntoIterator<Item = TokenBatch>,
    mut nll_sum: impl FnMut(&TokenBatch) -> Result<f64, NnError>,
) -> Result<Perplexity, InferError> {
    let (mut sum, mut tokens) = (0.0, 0);
    for batch in batches {
        let targets = batch.num_targets();
        if targets > 0 {
            let nll = nll_sum(&batch)?;
            if !nll.is_finite() {
                return Err(InferError::NotFinite { weight: None });
            }
            sum += nll;
            tokens += targets;
        }
    }
    if tokens == 0 {
        return Err(InferError::NothingToPredict);
    }
    let mean_nll = sum / tokens as f64;
    Ok(Perplexity { perplexity: mean_nll.exp(), mean_nll, tokens })
}

/// Cuts a text into windows of at most `window` tokens, each `stride` tokens after the one before. A token is predicted
/// once, in the first window that holds it; what a window shares with the one before is context (transformers,
/// "Perplexity of fixed-length models").
///
/// # Errors
/// [`InferError::Setting`] when `window` is below 2, or `stride` is 0 or more than `window`.
pub fn windows(ids: &[i64], window: usize, stride: usize) -> Result<Vec<TokenBatch>, InferError> {
    let setting =
        |name, actual: usize, expected| InferError::Setting { name, actual: actual as f64, expected };
    if window < 2 {
        return Err(setting("window", window, "at least 2"));
    }
    if stride == 0 || stride > window {
        return Err(setting("stride", stride, "at least 1 and at most `window`"));
    }
    let mut batches = Vec::new();
    let (mut begin, mut predicted) = (0, 0);
    while predicted < ids.len() {
        let end = (begin + window).min(ids.len());
        let mut labels = ids[begin..end].to_vec();
        labels[..predicted - begin].fill(IGNORE_INDEX);
        batches.push(TokenBatch::from_sequences([(&ids[begin..end], labels.as_slice())]));
        predicted = end;
        begin += stride;
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_but_the_first_is_predicted_once() {
        let ids: Vec<i64> = (10..33).collect();
        for (window, stride) in [(5, 1), (5, 3), (7, 6), (40, 40), (23, 10)] {
            let mut predicted = Vec::new();
            for batch in windows(&ids, window, stride).unwrap() {
                assert!(batch.num_tokens() <= window);
                let (positions, labels) = batch.targets();
                assert!(
                    positions
                        .iter()
                        .zip(&labels)
                        .all(|(&at, &label)| batch.input_ids[at as usize] + 1 == label)
                );
                predicted.extend(labels);
            }
            assert_eq!(predicted, ids[1..], "{window} {stride}");
        }
    }

    #[test]
    fn tokens_count_alike_and_texts_do_not() {
        let batch = |n: i64| windows(&(0..n).collect::<Vec<_>>(), 100, 100).unwrap().remove(0);
        let nll = |batch: &TokenBatch| Ok(if batch.num_targets() == 9 { 9.0 * 2.0 } else { 0.0 });
        let result = perplexity([batch(10), batch(2), batch(1)], nll).unwrap();
        assert_eq!((result.tokens, result.mean_nll), (10, 1.8));
        assert!((result.perplexity - 1.8_f64.exp()).abs() < 1e-12);
        assert!(matches!(perplexity([batch(1)], nll), Err(InferError::NothingToPredict)));
    }

    #[test]
    fn a_sum_that_is_no_number_is_no_perplexity() {
        for bad in [f64::NAN, f64::INFINITY] {
            let result = perplexity([windows(&[1, 2, 3], 9, 9).unwrap().remove(0)], |_| Ok(bad));
            assert!(matches!(result, Err(InferError::NotFinite { .. })));
        }
    }

    #[test]
    fn windows_that_would_skip_tokens_are_refused() {
        assert!(windows(&[1, 2, 3], 1, 1).is_err());
        assert!(windows(&[1, 2, 3], 2, 0).is_err());
        assert!(windows(&[1, 2, 3], 2, 3).is_err());
        assert!(windows(&[], 2, 1).unwrap().is_empty());
    }
}
