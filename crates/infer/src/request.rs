//! A request in a batch, from its prompt to its answer.

use std::fmt;

use nn_core::TorchContext;
use tch::{Kind, Tensor};

use crate::beam::{BeamSearch, Copy};
use crate::device_draw::Choice;
use crate::logprobs::logprobs;
use crate::process::process_scores;
use crate::sequence::{Sequence, read_scores, stream};
use crate::{FinishReason, GenerateConfig, Generation, InferError, TokenLogprob, TokenText};

/// A prompt and the settings of its generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Token ids, the beginning-of-text token included.
    pub prompt: Vec<i64>,
    /// Settings of its generation.
    pub config: GenerateConfig,
}

/// Id of a request of one [`crate::Batcher`]; counts up from 0 in the order they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// State of a request's generation.
#[derive(Debug)]
enum Work {
    /// One text; boxed, because it is larger than the other.
    Single(Box<Sequence>),
    Beams(BeamSearch),
}

/// A request that holds rows of the session.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) id: RequestId,
    pub(crate) prompt: Vec<i64>,
    config: GenerateConfig,
    /// Rows of the session, by slot: one, or one for each beam.
    pub(crate) rows: Vec<usize>,
    /// True once the prompt was read.
    pub(crate) begun: bool,
    /// The most tokens to add.
    pub(crate) limit: usize,
    work: Work,
}

/// Effect of one pass of the model on a request.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// New text.
    pub(crate) text: String,
    /// Log-probabilities of what was added, where they are asked for.
    pub(crate) logprobs: Vec<TokenLogprob>,
    /// Slots to be copied before the next pass.
    pub(crate) copies: Vec<Copy>,
    /// Reason for which the request ended, if it did.
    pub(crate) finish: Option<FinishReason>,
}

impl Active {
    pub(crate) fn new(id: RequestId, request: Request, rows: Vec<usize>, limit: usize) -> Self {
        let Request { prompt, config } = request;
        let work = if config.rows() > 1 {
            Work::Beams(BeamSearch::new(&config, limit))
        } else {
            Work::Single(Box::new(Sequence::new(&prompt, &config, limit)))
        };
        Self { id, prompt, config, rows, begun: false, limit, work }
    }

    /// Tells whether the log-probabilities of the prompt are still to be found.
    pub(crate) fn wants_prompt_logprobs(&self) -> bool {
        !self.begun && self.config.prompt_logprobs
    }

    /// Returns the number of most probable tokens to give beside each.
    pub(crate) fn top(&self) -> usize {
        self.config.logprobs.unwrap_or_default()
    }

    /// Returns row and token of everything the model has to read next, once it has read the prompt; the row of the prompt before.
    pub(crate) fn next_tokens(&self) -> Vec<(usize, i64)> {
        match &self.work {
            Work::Single(sequence) => vec![(self.rows[0], sequence.last())],
            Work::Beams(search) => {
                let token = |ids: &[i64]| ids.last().copied().unwrap_or_default();
                search.running.iter().map(|beam| (self.rows[beam.slot], token(&beam.ids))).collect()
            }
        }
    }

    /// Returns what decides over its next token, whose logits are at `place`, where that is not simply the most probable one.
    pub(crate) fn choice(&self, place: usize) -> Option<Choice<'_>> {
        match &self.work {
            Work::Single(sequence) => sequence.choice(place, &self.config),
            Work::Beams(_) => None,
        }
    }

    /// Goes one token on. `logits` `[n, V]` are of the rows of [`Active::next_tokens`] in their order, or of the prompt;
    /// `best` is where the first of them is largest, or what was chosen on their device.
    pub(crate) fn advance(
        &mut self,
        logits: &Tensor,
        best: i64,
        decoder: &dyn TokenText,
        scratch: &mut Vec<f32>,
    ) -> Result<Progress, InferError> {
        let config = &self.config;
        match &mut self.work {
            Work::Single(sequence) => {
                let token = sequence.choose(logits, best, config, scratch)?;
                let (text, finish) = sequence.accept(token, config, decoder)?;
                let logprobs = match config.logprobs.filter(|_| finish != Some(FinishReason::Eos)) {
                    Some(top) => logprobs(logits, &[token], top)?,
                    None => Vec::new(),
                };
                Ok(Progress { text, logprobs, finish, copies: Vec::new() })
            }
            Work::Beams(search) => {
                let scores = logits.f_log_softmax(-1, Kind::Float).op("log_softmax")?; // [n, V]
                read_scores(&scores, scratch)?;
                let vocab_size = scratch.len() / search.running.len();
                // Beyond the end tokens, one token has to stay that goes on.
                let keep = config.eos_ids.len() + 1;
                for (beam, scores) in search.running.iter().zip(scratch.chunks_mut(vocab_size)) {
                    let text = [&self.prompt[..], &beam.ids].concat();
                    process_scores(scores, &text, &config.sampling, keep);
                }
                let mut failure = None;
                let copies = search.advance(scratch, config, &mut |ids| {
                    ends_in_stop(ids, config, decoder).unwrap_or_else(|error| {
                        failure = Some(error);
                        false
                    })
                });
                if let Some(error) = failure {
                    return Err(error);
                }
                // The best text is known when the search ends.
                let finish = search.is_done(config).then_some(FinishReason::Length);
                Ok(Progress { copies, finish, ..Progress::default() })
            }
        }
    }

    /// Returns the answer, and the part of its text that was not shown yet.
    pub(crate) fn into_generation(
        self,
        finish: FinishReason,
        decoder: &dyn TokenText,
    ) -> Result<(String, Generation), InferError> {
        match self.work {
            Work::Single(mut sequence) => {
                let rest = sequence.stream.finish(decoder)?.to_owned();
                let (ids, text) = sequence.stream.into_parts();
                Ok((rest, Generation { ids, text, finish }))
            }
            Work::Beams(search) => {
                let best = search.into_best();
                let mut stream = stream(&self.prompt, &self.config);
                let written = best.ids.len() - usize::from(best.finish == FinishReason::Eos);
                for &id in &best.ids[..written] {
                    stream.push(id, decoder)?;
                }
                stream.finish(decoder)?;
                let (ids, text) = stream.into_parts();
                let finish = if finish == FinishReason::Cancelled { finish } else { best.finish };
                Ok((text.clone(), Generation { ids, text, finish }))
            }
        }
    }
}

/// Tells whether the last of `ids` completed a stop string. Every token has at least a byte of text, nearly always, so
/// only as many are decoded as the longest stop string has bytes.
fn ends_in_stop(ids: &[i64], config: &GenerateConfig, decoder: &dyn TokenText) -> Result<bool, InferError> {
    let Some(longest) = config.stop.iter().map(String::len).max() else { return Ok(false) };
    let tail = &ids[ids.len().saturating_sub(longest + 4)..];
    let text = decoder.decode(tail).map_err(InferError::Decode)?;
    Ok(config.stop.iter().any(|stop| !stop.is_empty() && text.contains(stop)))
}
