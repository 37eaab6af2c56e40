//! Continuous batching: requests join and leave one session between steps.

use std::cell::OnceCell;
use std::sync::Arc;

use nn_core::{CausalLm, DecodeSession, NnError, TorchContext};
use tch::Tensor;
use torch_ext::cuda::upload;

use crate::device_draw::{self, Choice};
use crate::greedy::Best;
use crate::logprobs::{POSITIONS, logprobs};
use crate::request::{Active, Progress};
use crate::{FinishReason, Generation, InferError, Request, RequestId, TokenLogprob, TokenText};

/// Event of a request.
#[derive(Debug)]
pub enum BatchEvent {
    /// It has one token more. A beam search shows its text when it ends, at once.
    Token {
        /// The request.
        id: RequestId,
        /// New text that can be shown: whole characters, nothing that may become a stop string; perhaps nothing. All
        /// pieces of a request together are the text of its generation.
        text: String,
        /// Log-probabilities of the tokens added since the last event, where they are asked for: of the new token, and
        /// before the first one of the prompt's.
        logprobs: Vec<TokenLogprob>,
    },
    /// It has its answer, and holds no rows any more.
    Finished {
        /// The request.
        id: RequestId,
        /// The answer.
        generation: Generation,
    },
    /// It has failed, and holds no rows any more.
    Failed {
        /// The request.
        id: RequestId,
        /// Cause of the failure.
        error: InferError,
    },
}

/// Continuous batching: generates for several requests together, each as if it were alone.
///
/// All share the rows of one session. A request takes one row, or one for each beam; the rows in use are always the first
/// ones, so that a step reads keys and values where they lie.
pub struct Batcher<'a> {
    model: &'a dyn CausalLm,
    /// The weight that makes scores NaN or infinite, once that was looked for.
    not_finite: OnceCell<Option<String>>,
    session: Box<dyn DecodeSession + 'a>,
    decoder: &'a dyn TokenText,
    vocab_size: usize,
    rows: usize,
    capacity: usize,
    active: Vec<Active>,
    next_id: u64,
    scratch: Vec<f32>,
}

impl<'a> Batcher<'a> {
    /// Opens a session of `rows` rows for `capacity` tokens each, prompt and answer together.
    ///
    /// # Errors
    /// [`InferError::Model`] when there is not that much memory.
    pub fn new(
        model: &'a dyn CausalLm,
        decoder: &'a dyn TokenText,
        rows: usize,
        capacity: usize,
    ) -> Result<Self, InferError> {
        Ok(Self {
            model,
            not_finite: OnceCell::new(),
            session: model.open(rows, capacity)?,
            decoder,
            vocab_size: model.vocab_size(),
            rows,
            capacity,
            active: Vec::new(),
            next_id: 0,
            scratch: Vec::new(),
        })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of tokens that a row has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of rows that no request holds.
    pub fn free_rows(&self) -> usize {
        self.rows - self.used_rows()
    }

    /// Tells whether no request is left.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Takes a request; its prompt is read in the next [`Batcher::step`]. An answer ends with
    /// [`FinishReason::Length`] where its row is full, even before `max_new_tokens`.
    ///
    /// # Errors
    /// [`InferError`] when a setting is out of range, the prompt is empty, too long or not of the vocabulary, or too few
    /// rows are free. The requests already there go on.
    pub fn add(&mut self, request: Request) -> Result<RequestId, InferError> {
        let Request { prompt, config } = &request;
        config.validate()?;
        if prompt.is_empty() {
            return Err(InferError::EmptyPrompt { index: 0 });
        }
        if prompt.len() >= self.capacity {
            return Err(InferError::PromptTooLong { tokens: prompt.len(), capacity: self.capacity });
        }
        let vocab_size = self.vocab_size as i64;
        if let Some(&id) = prompt.iter().find(|&&id| id < 0 || id >= vocab_size) {
            return Err(NnError::TokenId { id, vocab_size }.into());
        }
        let (needed, free) = (config.rows(), self.free_rows());
        if needed > free {
            return Err(InferError::NoRoom { needed, free, rows: self.rows });
        }
        // After a cancellation the free rows lie between others until the next step.
        let taken: Vec<usize> = self.active.iter().flat_map(|active| active.rows.iter().copied()).collect();
        let rows = (0..self.rows).filter(|row| !taken.contains(row)).take(needed).collect();
        let limit = config.max_new_tokens.min(self.capacity - prompt.len());
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.active.push(Active::new(id, request, rows, limit));
        Ok(id)
    }

    /// Ends a request; returns what it has so far. Its rows are free at once.
    pub fn cancel(&mut self, id: RequestId) -> Option<Generation> {
        let index = self.active.iter().position(|active| active.id == id)?;
        let active = self.active.remove(index);
        active.into_generation(FinishReason::Cancelled, self.decoder).ok().map(|(_, generation)| generation)
    }

    /// Adds a token to each text that goes on, and reads the prompts that wait. A model that fails takes the requests of
    /// that pass with it; the batcher can be used on.
    pub fn step(&mut self) -> Vec<BatchEvent> {
        let mut events = Vec::new();
        if let Err(error) = self.compact() {
            fail(std::mem::take(&mut self.active), error, &mut events);
        }
        let (begun, waiting): (Vec<Active>, Vec<Active>) =
            std::mem::take(&mut self.active).into_iter().partition(|active| active.begun);
        let (scored, waiting): (Vec<Active>, Vec<Active>) =
            waiting.into_iter().partition(Active::wants_prompt_logprobs);
        self.run(begun, &mut events);
        self.run(waiting, &mut events);
        for active in scored {
            self.run(vec![active], &mut events);
        }
        events
    }

    fn used_rows(&self) -> usize {
        self.active.iter().map(|active| active.rows.len()).sum()
    }

    /// Moves rows so that those in use are the first ones.
    fn compact(&mut self) -> Result<(), NnError> {
        let used = self.used_rows();
        let taken: Vec<usize> = self.active.iter().flat_map(|active| active.rows.iter().copied()).collect();
        let mut holes = (0..used).filter(|row| !taken.contains(row));
        for active in &mut self.active {
            for row in active.rows.iter_mut().filter(|row| **row >= used) {
                // As many rows lie beyond `used` as there are holes before it.
                if let Some(hole) = holes.next() {
                    self.session.move_row(*row, hole)?;
                    *row = hole;
                }
            }
        }
        Ok(())
    }

    /// Runs one pass of the model over `requests`, which all have begun or all wait; those that go on are active afterwards.
    fn run(&mut self, requests: Vec<Active>, events: &mut Vec<BatchEvent>) {
        let (requests, done): (Vec<Active>, Vec<Active>) =
            requests.into_iter().partition(|active| active.limit > 0 || active.wants_prompt_logprobs());
        for active in done {
            self.end(active, FinishReason::Length, events);
        }
        if requests.is_empty() {
            return;
        }
        let mut pass = match Pass::run(&mut *self.session, &requests) {
            Ok(pass) => pass,
            Err(error) => return fail(requests, error, events),
        };
        let mut parents: Vec<usize> = (0..self.rows).collect();
        let mut copied = false;
        for mut active in requests {
            let id = active.id;
            let rows: Vec<usize> = active.next_tokens().into_iter().map(|(row, _)| row).collect();
            let mut scored = pass.prompt_logprobs.iter().filter_map(|token| token.logprob);
            if !pass.is_finite(&rows) || scored.any(f32::is_nan) {
                let error = self.not_finite();
                events.push(BatchEvent::Failed { id, error });
                continue;
            }
            if active.limit == 0 {
                // Only its prompt was asked about.
                let logprobs = std::mem::take(&mut pass.prompt_logprobs);
                events.push(BatchEvent::Token { id, text: String::new(), logprobs });
                self.end(active, FinishReason::Length, events);
                continue;
            }
            let progress = pass
                .logits_of(rows.into_iter())
                .and_then(|(logits, best)| active.advance(&logits, best, self.decoder, &mut self.scratch));
            match progress {
                Ok(Progress { text, logprobs, copies, finish }) => {
                    let mut all = std::mem::take(&mut pass.prompt_logprobs);
                    all.extend(logprobs);
                    active.begun = true;
                    for copy in &copies {
                        parents[active.rows[copy.to]] = active.rows[copy.from];
                        copied = true;
                    }
                    events.push(BatchEvent::Token { id, text, logprobs: all });
                    match finish {
                        Some(finish) => self.end(active, finish, events),
                        None => self.active.push(active),
                    }
                }
                Err(error) => events.push(BatchEvent::Failed { id, error }),
            }
        }
        if copied && let Err(error) = self.session.select(&parents) {
            fail(std::mem::take(&mut self.active), error, events);
        }
    }

    /// Makes the failure of a request whose scores are not finite. The weights are searched once.
    fn not_finite(&self) -> InferError {
        if let Some(weight) = self.not_finite.get() {
            return InferError::NotFinite { weight: weight.clone() };
        }
        let error = InferError::not_finite(self.model);
        if let InferError::NotFinite { weight } = &error {
            let _ = self.not_finite.set(weight.clone());
        }
        error
    }

    fn end(&self, active: Active, finish: FinishReason, events: &mut Vec<BatchEvent>) {
        let id = active.id;
        match active.into_generation(finish, self.decoder) {
            Ok((rest, generation)) => {
                if !rest.is_empty() {
                    events.push(BatchEvent::Token { id, text: rest, logprobs: Vec::new() });
                }
                events.push(BatchEvent::Finished { id, generation });
            }
            Err(error) => events.push(BatchEvent::Failed { id, error }),
        }
    }
}

/// Result of one pass of the model.
struct Pass {
    /// `[n, V]`.
    logits: Tensor,
    /// Token with the largest logit of each row, or the one that was chosen on their device.
    best: Best,
    /// The session's row that each row of `logits` belongs to.
    rows: Vec<usize>,
    /// Log-probabilities of the one prompt that was read, where they are asked for.
    prompt_logprobs: Vec<TokenLogprob>,
}

impl Pass {
    fn run(session: &mut dyn DecodeSession, requests: &[Active]) -> Result<Self, NnError> {
        let mut prompt_logprobs = Vec::new();
        let (rows, logits): (Vec<usize>, Tensor) = if let [active] = requests
            && active.wants_prompt_logprobs()
        {
            let row = active.rows[0];
            let (logprobs, logits) = read_scored(session, row, &active.prompt, active.top())?;
            prompt_logprobs = logprobs;
            (vec![row], logits)
        } else if requests.iter().all(|active| active.begun) {
            let mut tokens: Vec<(usize, i64)> = requests.iter().flat_map(Active::next_tokens).collect();
            tokens.sort_unstable();
            let logits = session.step(&tokens)?;
            (tokens.into_iter().map(|(row, _)| row).collect(), logits)
        } else {
            let prompts: Vec<(usize, &[i64])> =
                requests.iter().map(|active| (active.rows[0], active.prompt.as_slice())).collect();
            (prompts.iter().map(|&(row, _)| row).collect(), session.prefill(&prompts)?)
        };
        let best = Best::of(&logits)?;
        let mut pass = Self { logits, best, rows, prompt_logprobs };
        if pass.logits.device().is_cuda() {
            pass.choose(requests)?;
        }
        Ok(pass)
    }

    /// Chooses on the device of the logits, for all requests at once, the tokens that are not the most probable ones.
    fn choose(&mut self, requests: &[Active]) -> Result<(), NnError> {
        let place = |active: &Active| self.rows.iter().position(|row| active.rows.first() == Some(row));
        let choices: Vec<Choice<'_>> =
            requests.iter().filter_map(|active| active.choice(place(active)?)).collect();
        let chosen = device_draw::choose(&self.logits, &choices)?;
        for (choice, id) in choices.iter().zip(chosen) {
            self.best.ids[choice.place] = id;
        }
        Ok(())
    }

    /// Checks that the logits of some of the session's rows are numbers.
    fn is_finite(&self, rows: &[usize]) -> bool {
        let places = self.rows.iter().zip(&self.best.finite);
        places.filter(|(row, _)| rows.contains(row)).all(|(_, &finite)| finite)
    }

    /// Returns the logits of some of the session's rows in the order given, and where the first of them is largest.
    fn logits_of(&self, rows: impl Iterator<Item = usize>) -> Result<(Tensor, i64), InferError> {
        let places: Vec<usize> =
            rows.filter_map(|row| self.rows.iter().position(|&other| other == row)).collect();
        let best = places.first().and_then(|&place| self.best.ids.get(place)).copied().unwrap_or_default();
        let logits = if let [place] = places[..] {
            self.logits.f_narrow(0, place as i64, 1).op("narrow")?
        } else {
            let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
            let places = upload(&places, self.logits.device()).op("upload")?;
            self.logits.f_index_select(0, &places).op("index_select")?
        };
        Ok((logits, best))
    }
}

/// Reads a prompt into a row; returns the log-probabilities of its tokens, and the logits of the next.
fn read_scored(
    session: &mut dyn DecodeSession,
    row: usize,
    prompt: &[i64],
    top: usize,
) -> Result<(Vec<TokenLogprob>, Tensor), NnError> {
    let first = prompt.iter().take(1).map(|&id| TokenLogprob { id, logprob: None, top: Vec::new() });
    let mut found: Vec<TokenLogprob> = first.collect();
    let logits = session.prefill_all(row, prompt, POSITIONS, &mut |logits| {
        // The logits at a position are of the token after it; those at the last are of the answer's first.
        let next = &prompt[found.len()..];
        let count = next.len().min(logits.size()[0] as usize);
        if count > 0 {
            found.extend(logprobs(&logits.f_narrow(0, 0, count as i64).op("narrow")?, &next[..count], top)?);
        }
        Ok(())
    })?;
    Ok((found, logits))
}

/// Reports the model's failure, for each of the requests it concerns.
fn fail(requests: Vec<Active>, error: NnError, events: &mut Vec<BatchEvent>) {
    let error = Arc::new(error);
    events.extend(
        requests
            .into_iter()
            .map(|active| BatchEvent::Failed { id: active.id, error: InferError::Pass(Arc::clone(&error)) }),
    );
}
