//! Beam search, scored as transformers 4.57 does (`GenerationMixin._beam_search` in `generation/utils.py`).

use crate::draw::Draws;
use crate::process::{ascending, best};
use crate::{FinishReason, GenerateConfig};

/// The score of a place that nothing has.
const NOTHING: f32 = -1e9;

/// A text that goes on.
#[derive(Debug, Clone)]
pub(crate) struct Beam {
    /// New tokens.
    pub(crate) ids: Vec<i64>,
    /// Sum of its tokens' log-probabilities.
    score: f32,
    /// Which of the request's rows holds its keys and values.
    pub(crate) slot: usize,
}

/// A text that ended.
#[derive(Debug, Clone)]
pub(crate) struct Hypothesis {
    /// New tokens, the end token included.
    pub(crate) ids: Vec<i64>,
    /// Sum of log-probabilities over `length^length_penalty`.
    score: f32,
    pub(crate) finish: FinishReason,
}

/// One way a beam may go on.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    beam: usize,
    token: i64,
    score: f32,
}

/// A row that has to be copied before the next step, in slots of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// The state of one request's search.
#[derive(Debug, Clone)]
pub(crate) struct BeamSearch {
    pub(crate) running: Vec<Beam>,
    /// Best first, at most `num_beams`.
    finished: Vec<Hypothesis>,
    /// True while a running beam can still beat the worst finished one.
    improvable: bool,
    limit: usize,
    draws: Draws,
}

impl BeamSearch {
    /// Begins a search that adds at most `limit` tokens; it begins with the prompt in slot 0.
    pub(crate) fn new(config: &GenerateConfig, limit: usize) -> Self {
        Self {
            running: vec![Beam { ids: Vec::new(), score: 0.0, slot: 0 }],
            finished: Vec::new(),
            improvable: true,
            limit,
            draws: Draws::new(config.sampling.seed),
        }
    }

    /// Goes one token on. `scores` holds the processed log-probabilities of each running beam, `[running · V]`;
    /// `stops` tells whether new tokens of a beam end in a stop string. Returns the rows to be copied.
    pub(crate) fn advance(
        &mut self,
        scores: &[f32],
        config: &GenerateConfig,
        stops: &mut dyn FnMut(&[i64]) -> bool,
    ) -> Vec<Copy> {
        let num_beams = config.sampling.num_beams;
        let candidates = self.candidates(scores, config);
        let mut next = Vec::new();
        for (rank, candidate) in candidates.iter().enumerate() {
            let mut ids = self.running[candidate.beam].ids.clone();
            ids.push(candidate.token);
            let finish = if config.eos_ids.contains(&candidate.token) {
                Some(FinishReason::Eos)
            } else if stops(&ids) {
                Some(FinishReason::Stop)
            } else {
                (ids.len() >= self.limit).then_some(FinishReason::Length)
            };
            match finish {
                // A candidate behind the first `num_beams` only stands by for those that end.
                Some(finish) if rank < num_beams => self.finish(ids, candidate.score, finish, config),
                Some(_) => {}
                None => next.push((candidate, ids)),
            }
        }
        next.sort_by(|(a, _), (b, _)| ascending(b.score, a.score));
        next.truncate(num_beams);
        let (running, copies) = place(&self.running, next, num_beams);
        self.running = running;
        self.improvable &= self.may_improve(config);
        copies
    }

    /// Tells whether the search is over.
    pub(crate) fn is_done(&self, config: &GenerateConfig) -> bool {
        self.running.is_empty() || !self.improvable || self.is_full(config) && config.sampling.early_stopping
    }

    /// Returns the best finished text, or else the best so far.
    pub(crate) fn into_best(self) -> Hypothesis {
        let running = self.running.into_iter().next();
        let cut_off = || {
            let ids = running.map(|beam| beam.ids).unwrap_or_default();
            Hypothesis { ids, score: NOTHING, finish: FinishReason::Cancelled }
        };
        self.finished.into_iter().next().unwrap_or_else(cut_off)
    }

    /// Finds the best `(1 + end tokens) · num_beams` ways to go on, so that `num_beams` are left when every end token is among
    /// them; or as many draws without replacement.
    fn candidates(&self, scores: &[f32], config: &GenerateConfig) -> Vec<Candidate> {
        let vocab_size = scores.len() / self.running.len().max(1);
        let wanted = (1 + config.eos_ids.len()).max(2) * config.sampling.num_beams;
        let position = self.running.first().map_or(0, |beam| beam.ids.len());
        let total = |at: usize| scores[at] + self.running[at / vocab_size].score;
        let totals = (0..scores.len()).map(total);
        let chosen = if config.sampling.do_sample {
            let noise = |(at, total): (usize, f32)| {
                if total == f32::NEG_INFINITY {
                    total
                } else {
                    (f64::from(total) + self.draws.gumbel(position, at)) as f32
                }
            };
            best(totals.enumerate().map(noise), wanted)
        } else {
            best(totals, wanted)
        };
        let candidate = |(at, _): (usize, f32)| Candidate {
            beam: at / vocab_size,
            token: (at % vocab_size) as i64,
            score: total(at),
        };
        chosen.into_iter().map(candidate).collect()
    }

    fn is_full(&self, config: &GenerateConfig) -> bool {
        self.finished.len() == config.sampling.num_beams
    }

    /// Puts an ended text among the finished ones, where its score puts it.
    fn finish(&mut self, ids: Vec<i64>, sum: f32, finish: FinishReason, config: &GenerateConfig) {
        let score = sum / norm(ids.len(), config);
        let at = self.finished.iter().take_while(|other| other.score >= score).count();
        self.finished.insert(at, Hypothesis { ids, score, finish });
        self.finished.truncate(config.sampling.num_beams);
    }

    fn may_improve(&self, config: &GenerateConfig) -> bool {
        let Some(best) = self.running.first() else { return false };
        let worst = match self.finished.last() {
            Some(last) if self.is_full(config) => last.score,
            _ => NOTHING,
        };
        best.score / norm(best.ids.len(), config) > worst
    }
}

fn norm(length: usize, config: &GenerateConfig) -> f32 {
    (length as f64).powf(config.sampling.length_penalty) as f32
}

/// Gives every continuation a slot: the first of each parent stays in the parent's, the others are copied to slots that
/// no continuation needs.
fn place(parents: &[Beam], next: Vec<(&Candidate, Vec<i64>)>, slots: usize) -> (Vec<Beam>, Vec<Copy>) {
    let kept: Vec<usize> = next.iter().map(|(candidate, _)| parents[candidate.beam].slot).collect();
    let mut free = (0..slots).filter(|slot| !kept.contains(slot));
    let mut copies = Vec::new();
    let mut running: Vec<Beam> = Vec::with_capacity(next.len());
    for ((candidate, ids), &from) in next.into_iter().zip(&kept) {
        let mut slot = from;
        if running.iter().any(|beam| beam.slot == from) {
            // There are `slots` continuations at most, so a slot is free for each.
            slot = free.next().unwrap_or(from);
            copies.push(Copy { from, to: slot });
        }
        running.push(Beam { ids, score: candidate.score, slot });
    }
    (running, copies)
}
