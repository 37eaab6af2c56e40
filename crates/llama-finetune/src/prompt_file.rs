//! Answers to a file of prompts, written line by line, so that a run that was ended goes on where it stopped.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use infer::{BatchEvent, Batcher, FinishReason, GenerateConfig, Generation, Request, RequestId};
use nn_core::CausalLm;
use serde::{Deserialize, Serialize};
use weights::read_text;

use crate::error::io;
use crate::text::Decoder;
use crate::{FinetuneError, Prompt, TextModel};

/// Bytes of a file of prompts, which is read as a whole.
const MAX_FILE_BYTES: u64 = 4 << 30;

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
    first_token_s: f64,
    seconds: f64,
}

/// A JSONL file of prompts, and the file of their answers, which may hold the first of them already.
#[derive(Debug)]
pub struct PromptFile {
    prompts: Vec<Prompt>,
    answered: usize,
    path: PathBuf,
    file: File,
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
    /// [`FinetuneError::PromptLine`] and [`FinetuneError::NoPrompts`] for a wrong input, [`FinetuneError::OtherAnswers`]
    /// when `output` holds answers to other prompts, [`FinetuneError::OutputInUse`] when another process writes them,
    /// [`FinetuneError::Io`].
    pub fn open(input: &Path, output: &Path) -> Result<Self, FinetuneError> {
        let prompts = read_prompts(input)?;
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
        Ok(Self { prompts, answered, path: output.to_owned(), file })
    }

    /// Counts the prompts.
    pub fn num_prompts(&self) -> usize {
        self.prompts.len()
    }

    /// Counts the prompts that are answered.
    pub fn num_answered(&self) -> usize {
        self.answered
    }

    /// Answers the prompts that are left, `batch_size` at a time, and writes the answers in order. A prompt that has no
    /// room gets a line that says so.
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
        let config = model.with_eos_ids(config);
        let rows = batch_size.max(1) * config.sampling.num_beams;
        let Self { prompts, answered, path, file } = self;
        let left = prompts.get(*answered..).unwrap_or_default();
        answer_all(model, left, &config, rows, &mut |mut line| {
            line.index = *answered;
            *answered += 1;
            tokens += line.completion_tokens;
            let text = serde_json::to_string(&line).map_err(|error| io("write", path)(error.into()))?;
            // One call for a line, so that an end at any moment leaves whole lines and at most one torn one.
            file.write_all(format!("{text}\n").as_bytes()).map_err(io("write", path))
        })?;
        Ok(AnsweringTime { tokens, seconds: begun.elapsed().as_secs_f64() })
    }
}

/// Reads all prompts before any is answered, so that a mistake in the last line does not show up after an hour.
fn read_prompts(path: &Path) -> Result<Vec<Prompt>, FinetuneError> {
    let text = read_text(path, MAX_FILE_BYTES).map_err(io("read", path))?;
    let mut prompts = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |reason: String| FinetuneError::PromptLine { path: path.to_owned(), line: number, reason };
        prompts.push(match serde_json::from_str(line).map_err(|error| wrong(error.to_string()))? {
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

/// A request that is being answered.
struct Active {
    place: usize,
    begun: Instant,
    first_token_s: Option<f64>,
    prompt_tokens: usize,
}

/// Answers prompts together and hands over their lines in order.
fn answer_all(
    model: &TextModel,
    prompts: &[Prompt],
    config: &GenerateConfig,
    rows: usize,
    write: &mut dyn FnMut(OutputLine) -> Result<(), FinetuneError>,
) -> Result<(), FinetuneError> {
    let ids = prompts.iter().map(|prompt| model.encode(prompt)).collect::<Result<Vec<_>, _>>()?;
    let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
    let capacity = model.model.max_len().min(longest + config.max_new_tokens);
    let decoder = Decoder(&model.tokenizer);
    let mut batcher = Batcher::new(&model.model, &decoder, rows, capacity)?;
    let mut active: HashMap<RequestId, Active> = HashMap::new();
    // Lines that wait for those before them.
    let mut ready: BTreeMap<usize, OutputLine> = BTreeMap::new();
    let (mut next, mut written) = (0, 0);
    while written < prompts.len() {
        while next < prompts.len() && batcher.free_rows() >= config.sampling.num_beams {
            let (place, prompt) = (next, ids[next].clone());
            next += 1;
            let prompt_tokens = prompt.len();
            match batcher.add(Request { prompt, config: config.clone() }) {
                Ok(id) => {
                    let begun = Instant::now();
                    active.insert(id, Active { place, begun, first_token_s: None, prompt_tokens });
                }
                // One prompt that has no room is told in its line; the others are answered.
                Err(error) => {
                    let line = OutputLine {
                        error: Some(error.to_string()),
                        ..OutputLine::new(&prompts[place], prompt_tokens)
                    };
                    ready.insert(place, line);
                }
            }
        }
        for event in batcher.step() {
            match event {
                BatchEvent::Token { id, .. } => {
                    if let Some(active) = active.get_mut(&id) {
                        active.first_token_s.get_or_insert_with(|| active.begun.elapsed().as_secs_f64());
                    }
                }
                BatchEvent::Finished { id, generation } => {
                    if let Some(active) = active.remove(&id) {
                        ready.insert(active.place, active.line(&prompts[active.place], generation));
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

impl Active {
    /// Makes the line of a request that is answered.
    fn line(&self, prompt: &Prompt, generation: Generation) -> OutputLine {
        let Generation { ids, text, finish } = generation;
        OutputLine {
            answer: Some(text),
            finish: Some(name_of(finish).to_owned()),
            completion_tokens: ids.len(),
            first_token_s: self.first_token_s.unwrap_or_default(),
            seconds: self.begun.elapsed().as_secs_f64(),
            ..OutputLine::new(prompt, self.prompt_tokens)
        }
    }
}

impl OutputLine {
    /// Makes a line without an answer.
    fn new(prompt: &Prompt, prompt_tokens: usize) -> Self {
        Self {
            index: 0,
            prompt: prompt.clone(),
            answer: None,
            error: None,
            finish: None,
            prompt_tokens,
            completion_tokens: 0,
            first_token_s: 0.0,
            seconds: 0.0,
        }
    }
}
