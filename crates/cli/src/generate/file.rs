//! Answers to a file of prompts.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use infer::{BatchEvent, Batcher, GenerateConfig, Request};
use nn_core::CausalLm;
use serde::{Deserialize, Serialize};

use super::answer::{config_of, finish_name};
use super::prompts::Prompt;
use super::source::Loaded;
use crate::exit::usage;
use crate::output::MAX_TEXT_BYTES;

/// One line of the input. Fields of other names are left alone.
#[derive(Debug, Deserialize)]
struct Asked {
    instruction: Option<String>,
    input: Option<String>,
    prompt: Option<String>,
}

/// One line of the output.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Position of its prompt in the input, from 0.
    index: usize,
    #[serde(flatten)]
    prompt: Fields,
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

/// A prompt as fields of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Fields {
    Instruction { instruction: String, input: String },
    Raw { prompt: String },
}

impl Fields {
    fn prompt(&self) -> Prompt {
        match self.clone() {
            Self::Instruction { instruction, input } => Prompt::Instruction { instruction, input },
            Self::Raw { prompt } => Prompt::Raw(prompt),
        }
    }
}

/// Answers the prompts of `input` into `output`, `rows` at a time, in order. Lines that are in `output` already stay.
pub(crate) fn run(
    source: &Loaded,
    input: &Path,
    output: &Path,
    rows: usize,
    sampling: &GenerateConfig,
) -> Result<()> {
    let prompts = read_prompts(input)?;
    let (mut file, done) = open_output(output, &prompts)?;
    if done > 0 {
        tracing::info!("{done} of {} answers are in `{}` already", prompts.len(), output.display());
    }
    let config = config_of(source, sampling);
    let rows = rows.max(1) * config.sampling.num_beams;
    let begun = Instant::now();
    let mut tokens = 0;
    answer_all(source, &prompts[done..], &config, rows, &mut |place, mut line| {
        line.index = done + place;
        tokens += line.completion_tokens;
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        // One call for a line, so that an end at any moment leaves whole lines and at most one torn one.
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write `{}`", output.display()))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    tracing::info!(
        "{} answers in `{}`: {tokens} tokens in {seconds:.1} s, {:.1} tokens/s",
        prompts.len(),
        output.display(),
        tokens as f64 / seconds.max(1e-9)
    );
    Ok(())
}

/// Reads all prompts before any is answered, so that a mistake in the last line does not show up after an hour.
fn read_prompts(path: &Path) -> Result<Vec<Fields>> {
    let text = weights::read_text(path, MAX_TEXT_BYTES)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut prompts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |reason: String| usage(format!("`{}`, line {number}: {reason}", path.display()));
        let asked: Asked = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        prompts.push(match asked {
            Asked { instruction: Some(instruction), input, prompt: None } => {
                Fields::Instruction { instruction, input: input.unwrap_or_default() }
            }
            Asked { instruction: None, prompt: Some(prompt), .. } => Fields::Raw { prompt },
            _ => return Err(wrong("expected `instruction` (and `input`), or `prompt`".to_owned())),
        });
    }
    if prompts.is_empty() {
        return Err(usage(format!("`{}` has no prompts", path.display())));
    }
    Ok(prompts)
}

/// Opens the output behind its last whole line; also gives how many there are. They have to be of the same prompts.
fn open_output(path: &Path, prompts: &[Fields]) -> Result<(File, usize)> {
    let cannot = || format!("cannot write `{}`", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(cannot)?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(usage(format!("`{}` is being written by another process", path.display())));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).with_context(|| format!("cannot read `{}`", path.display()))?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut done = 0;
    for line in text[..whole].split_inclusive(|&byte| byte == b'\n') {
        let line: Option<Line> = serde_json::from_slice(line).ok();
        let fits = |line: &Line| line.index == done && prompts.get(done) == Some(&line.prompt);
        if !line.as_ref().is_some_and(fits) {
            return Err(usage(format!(
                "line {} of `{}` is not the answer to prompt {done} of this input; choose another --out, or remove it",
                done + 1,
                path.display()
            )));
        }
        done += 1;
    }
    file.set_len(whole as u64).with_context(cannot)?;
    file.seek(SeekFrom::End(0)).with_context(cannot)?;
    Ok((file, done))
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
    source: &Loaded,
    prompts: &[Fields],
    config: &GenerateConfig,
    rows: usize,
    write: &mut dyn FnMut(usize, Line) -> Result<()>,
) -> Result<()> {
    let ids = prompts.iter().map(|fields| source.text.ids(&fields.prompt())).collect::<Result<Vec<_>>>()?;
    let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
    let capacity = source.model.max_len().min(longest + config.max_new_tokens);
    let mut batcher = Batcher::new(&source.model, &*source.text, rows, capacity)?;
    let mut active = HashMap::new();
    let mut ready: BTreeMap<usize, Line> = BTreeMap::new();
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
                    ready.insert(place, failed(&prompts[place], prompt_tokens, &error.to_string()));
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
                    let Some(Active { place, begun, first_token_s, prompt_tokens }) = active.remove(&id)
                    else {
                        continue;
                    };
                    let line = Line {
                        index: 0,
                        prompt: prompts[place].clone(),
                        finish: Some(finish_name(generation.finish).to_owned()),
                        completion_tokens: generation.ids.len(),
                        answer: Some(generation.text),
                        error: None,
                        prompt_tokens,
                        first_token_s: first_token_s.unwrap_or_default(),
                        seconds: begun.elapsed().as_secs_f64(),
                    };
                    ready.insert(place, line);
                }
                BatchEvent::Failed { error, .. } => return Err(error.into()),
            }
        }
        while let Some(line) = ready.remove(&written) {
            write(written, line)?;
            written += 1;
        }
    }
    Ok(())
}

fn failed(prompt: &Fields, prompt_tokens: usize, reason: &str) -> Line {
    Line {
        index: 0,
        prompt: prompt.clone(),
        answer: None,
        error: Some(reason.to_owned()),
        finish: None,
        prompt_tokens,
        completion_tokens: 0,
        first_token_s: 0.0,
        seconds: 0.0,
    }
}
