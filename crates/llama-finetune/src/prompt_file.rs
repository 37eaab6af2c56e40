//! Answers to a file of prompts, written line by line, so that a run that was ended goes on where it stopped.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use alpaca_data::{DataError, IgnoredColumns, read_file, unread_columns};
use infer::{BatchEvent, Batcher, FinishReason, GenerateConfig, Generation, Request, RequestId};
use nn_core::CausalLm;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::io;
use crate::text::Decoder;
use crate::{Answer, FinetuneError, Prompt, TextModel, TokenPiece};

/// One line of the input. Fields of other names are left alone.
#[derive(Debug, Deserialize)]
struct InputLine {
    instruction: Option<String>,
    input: Option<String>,
    prompt: Option<String>,
}

/// One line of the output.
#[derive(Debug, Serialize, Deserialize)]
struct OutputLine {
    /// Position of its prompt in the input, from 0.
    index: usize,
    #[serde(flatten)]
    prompt: Prompt,
    answer: Option<String>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    finish: Option<String>,
    prompt_tokens: usize,
    completion_tokens: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<Tokens>,
    first_token_s: f64,
    seconds: f64,
}

/// The tokens of a prompt and its answer.
#[derive(Debug, Serialize, Deserialize)]
struct Tokens {
    prompt: Vec<TokenPiece>,
    answer: Vec<TokenPiece>,
}

/// A JSONL file of prompts, and the file of their answers, which may hold the first of them already.
#[derive(Debug)]
pub struct PromptFile {
    prompts: Vec<Prompt>,
    answered: usize,
    path: PathBuf,
    file: File,
    /// Write the tokens of prompts and answers too.
    pub show_tokens: bool,
}

/// Tokens and time of answering a file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AnsweringTime {
    /// Tokens of all new answers.
    pub tokens: usize,
    /// Seconds.
    pub seconds: f64,
}

impl PromptFile {
    /// Reads the prompts of `input`, lines with `instruction` and `input`, or with `prompt`, and opens `output` behind
    /// its last whole line.
    ///
    /// # Errors
    /// [`FinetuneError::Data`] for a prompt that fills a column which no prompt has a place for, such as `system`, and which is
    /// not `ignored`; [`FinetuneError::PromptLine`] and [`FinetuneError::NoPrompts`] for a wrong input, [`FinetuneError::OtherAnswers`]
    /// when `output` holds answers to other prompts, [`FinetuneError::OutputInUse`] when another process writes them,
    /// [`FinetuneError::Io`].
    pub fn open(input: &Path, output: &Path, ignored: &IgnoredColumns) -> Result<Self, FinetuneError> {
        let prompts = read_prompts(input, ignored)?;
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(output)
            .map_err(io("write", output))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(FinetuneError::OutputInUse { path: output.to_owned() });
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io("read", output))?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let mut answered = 0;
        for line in text[..whole].split_inclusive(|&byte| byte == b'\n') {
            let line: Option<OutputLine> = serde_json::from_slice(line).ok();
            let fits =
                |line: &OutputLine| line.index == answered && prompts.get(answered) == Some(&line.prompt);
            if !line.as_ref().is_some_and(fits) {
                return Err(FinetuneError::OtherAnswers { path: output.to_owned(), prompt: answered });
            }
            answered += 1;
        }
        file.set_len(whole as u64).map_err(io("write", output))?;
        file.seek(SeekFrom::End(0)).map_err(io("write", output))?;
        Ok(Self { prompts, answered, path: output.to_owned(), file, show_tokens: false })
    }

    /// Counts the prompts.
    pub fn num_prompts(&self) -> usize {
        self.prompts.len()
    }

    /// Counts the prompts that are answered.
    pub fn num_answered(&self) -> usize {
        self.answered
    }

    /// Answers the prompts that are left, `batch_size` at a time, and writes the answers in order. Each draws from a stream of
    /// its own, which the seed and its place in the file decide. A prompt that has no room gets a line that says so.
    ///
    /// # Errors
    /// [`FinetuneError`] when a setting is out of range, the model fails or the disk refuses.
    pub fn answer(
        &mut self,
        model: &TextModel,
        config: &GenerateConfig,
        batch_size: usize,
    ) -> Result<AnsweringTime, FinetuneError> {
        let begun = Instant::now();
        let mut tokens = 0;
        let rows = batch_size.max(1) * config.sampling.num_beams;
        let Self { prompts, answered, path, file, show_tokens } = self;
        answer_all(model, prompts, *answered, config, rows, &mut |mut line| {
            *answered += 1;
            tokens += line.completion_tokens;
            if !*show_tokens {
                line.tokens = None;
            }
            let text = serde_json::to_string(&line).map_err(|error| io("write", path)(error.into()))?;
            // One call for a line, so that an end at any moment leaves whole lines and at most one torn one.
            file.write_all(format!("{text}\n").as_bytes()).map_err(io("write", path))
        })?;
        Ok(AnsweringTime { tokens, seconds: begun.elapsed().as_secs_f64() })
    }
}

/// Reads all prompts before any is answered, so that a mistake in the last line does not show up after an hour.
fn read_prompts(path: &Path, ignored: &IgnoredColumns) -> Result<Vec<Prompt>, FinetuneError> {
    let text = read_file(path)?;
    let mut prompts = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |reason: String| FinetuneError::PromptLine { path: path.to_owned(), line: number, reason };
        let fields: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        if let Some(column) = ignored.refused(&unread_columns(&fields)) {
            let (path, index) = (path.to_owned(), prompts.len());
            return Err(DataError::Column { path, index, line: number, column }.into());
        }
        prompts.push(match InputLine::deserialize(fields).map_err(|error| wrong(error.to_string()))? {
            InputLine { instruction: Some(instruction), input, prompt: None } => {
                Prompt::Instruction { instruction, input: input.unwrap_or_default() }
            }
            InputLine { instruction: None, prompt: Some(prompt), .. } => Prompt::Text { prompt },
            _ => return Err(wrong("expected `instruction` (and `input`), or `prompt`".to_owned())),
        });
    }
    if prompts.is_empty() {
        return Err(FinetuneError::NoPrompts { path: path.to_owned() });
    }
    Ok(prompts)
}

/// Returns the word for why an answer ended, as OpenAI's API has it.
fn name_of(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Eos | FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Cancelled => "cancelled",
    }
}

impl Answer {
    /// Returns the answer to `prompt` as a JSON object, with the keys that a line of [`PromptFile`] has; with the tokens too, where
    /// `show_tokens` is set.
    ///
    /// # Errors
    /// Never in practice: every field is a number or a text.
    pub fn to_json(
        &self,
        model: &TextModel,
        prompt: &Prompt,
        show_tokens: bool,
    ) -> Result<String, FinetuneError> {
        let pieces = model.pieces(&self.generation.ids);
        let line = OutputLine::new(0, prompt, model.pieces(&self.prompt_ids));
        let mut line = line.answered(self.generation.clone(), pieces, self.seconds);
        line.first_token_s = self.first_token_s;
        line.tokens = line.tokens.filter(|_| show_tokens);
        let mut value =
            serde_json::to_value(line).map_err(|error| io("write", Path::new("JSON"))(error.into()))?;
        value.as_object_mut().map(|fields| fields.remove("index"));
        Ok(value.to_string())
    }
}

/// A request that is being answered.
struct Active {
    line: OutputLine,
    begun: Instant,
}

/// Answers the prompts from place `begin` on together, and hands over their lines in order.
fn answer_all(
    model: &TextModel,
    prompts: &[Prompt],
    begin: usize,
    config: &GenerateConfig,
    rows: usize,
    write: &mut dyn FnMut(OutputLine) -> Result<(), FinetuneError>,
) -> Result<(), FinetuneError> {
    let left = prompts.get(begin..).unwrap_or_default();
    let mut ids = left.iter().map(|prompt| model.encode(prompt)).collect::<Result<VecDeque<_>, _>>()?;
    let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
    let capacity = model.model.max_len().min(longest + config.max_new_tokens);
    let decoder = Decoder(&model.tokenizer);
    let mut batcher = Batcher::new(&model.model, &decoder, rows, capacity)?;
    let mut active: HashMap<RequestId, Active> = HashMap::new();
    // Lines that wait for those before them.
    let mut ready: BTreeMap<usize, OutputLine> = BTreeMap::new();
    let (mut next, mut written) = (begin, begin);
    while written < prompts.len() {
        while batcher.free_rows() >= config.sampling.num_beams
            && let Some(prompt_ids) = ids.pop_front()
        {
            let index = next;
            next += 1;
            let config = model.settings_of(&prompts[index], index, config);
            let line = OutputLine::new(index, &prompts[index], model.pieces(&prompt_ids));
            match batcher.add(Request { prompt: prompt_ids, config }) {
                Ok(id) => {
                    active.insert(id, Active { line, begun: Instant::now() });
                }
                // One prompt that has no room is told in its line; the others are answered.
                Err(error) => {
                    ready.insert(index, OutputLine { error: Some(error.to_string()), ..line });
                }
            }
        }
        for event in batcher.step() {
            match event {
                BatchEvent::Token { id, .. } => {
                    if let Some(Active { line, begun }) = active.get_mut(&id)
                        && line.first_token_s == 0.0
                    {
                        line.first_token_s = begun.elapsed().as_secs_f64();
                    }
                }
                BatchEvent::Finished { id, generation } => {
                    if let Some(active) = active.remove(&id) {
                        let pieces = model.pieces(&generation.ids);
                        let seconds = active.begun.elapsed().as_secs_f64();
                        ready.insert(active.line.index, active.line.answered(generation, pieces, seconds));
                    }
                }
                BatchEvent::Failed { error, .. } => return Err(error.into()),
            }
        }
        while let Some(line) = ready.remove(&written) {
            write(line)?;
            written += 1;
        }
    }
    Ok(())
}

impl OutputLine {
    /// Makes a line without an answer.
    fn new(index: usize, prompt: &Prompt, pieces: Vec<TokenPiece>) -> Self {
        Self {
            index,
            prompt: prompt.clone(),
            answer: None,
            error: None,
            finish: None,
            prompt_tokens: pieces.len(),
            completion_tokens: 0,
            tokens: Some(Tokens { prompt: pieces, answer: Vec::new() }),
            first_token_s: 0.0,
            seconds: 0.0,
        }
    }

    /// Completes the line with its answer, which took `seconds`.
    fn answered(self, generation: Generation, answer: Vec<TokenPiece>, seconds: f64) -> Self {
        let Generation { ids, text, finish } = generation;
        let prompt = self.tokens.map(|tokens| tokens.prompt).unwrap_or_default();
        Self {
            answer: Some(text),
            finish: Some(name_of(finish).to_owned()),
            completion_tokens: ids.len(),
            tokens: Some(Tokens { prompt, answer }),
            seconds,
            ..self
        }
    }
}
