//! Log-probabilities of tokens, as the model gives them: before temperature and all that cuts or bends a draw.

use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};
use torch_ext::cuda::upload;

/// Log-probability of a token, and the most probable tokens in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: i64,
    /// Its log-probability, in nats; `None` for the first token of a prompt, which nothing precedes.
    pub logprob: Option<f32>,
    /// The most probable tokens in its place with their log-probabilities, best first.
    pub top: Vec<(i64, f32)>,
}

/// Positions of a prompt whose logits are turned into log-probabilities at a time: 64 rows of 128,256 are 32 MiB.
pub(crate) const POSITIONS: usize = 64;

/// Returns the log-probabilities of `ids`, one for each row of `logits` `[n, V]`, with the `top` most probable.
pub(crate) fn logprobs(logits: &Tensor, ids: &[i64], top: usize) -> Result<Vec<TokenLogprob>, NnError> {
    let scores = logits.f_log_softmax(-1, Kind::Float).op("log_softmax")?; // [n, V]
    let chosen = upload(ids, scores.device()).op("upload")?;
    let chosen = scores.f_gather(1, &chosen.f_unsqueeze(1).op("unsqueeze")?, false).op("gather")?;
    let chosen = Vec::<f32>::try_from(&chosen.f_reshape([-1i64]).op("reshape")?).op("read")?;
    let top = top.min(scores.size()[1] as usize);
    let mut best = vec![Vec::new(); ids.len()];
    if top > 0 {
        let (values, places) = scores.f_topk(top as i64, -1, true, true).op("topk")?; // [n, top]
        let values = Vec::<f32>::try_from(&values.f_reshape([-1i64]).op("reshape")?).op("read")?;
        let places = Vec::<i64>::try_from(&places.f_reshape([-1i64]).op("reshape")?).op("read")?;
        for (best, (places, values)) in best.iter_mut().zip(places.chunks(top).zip(values.chunks(top))) {
            *best = places.iter().copied().zip(values.iter().copied()).collect();
        }
    }
    let tokens = ids.iter().zip(chosen).zip(best);
    Ok(tokens.map(|((&id, logprob), top)| TokenLogprob { id, logprob: Some(logprob), top }).collect())
}
