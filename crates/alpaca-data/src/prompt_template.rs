//! Prompt templates in alpaca-lora's JSON format.

use std::path::Path;

use serde::Deserialize;

use crate::DataError;

/// Bytes of a file of a template.
const MAX_BYTES: u64 = 16 << 20;
/// Built-in templates by name. Their wording is part of the format: adapters were trained with it.
const BUILT_IN: [(&str, &str); 4] = [
    ("alpaca", include_str!("../templates/alpaca.json")),
    ("alpaca_legacy", include_str!("../templates/alpaca_legacy.json")),
    ("alpaca_short", include_str!("../templates/alpaca_short.json")),
    ("vigogne", include_str!("../templates/vigogne.json")),
];

/// Prompt template: renders an instruction and its input (tloen/alpaca-lora, `utils/prompter.py`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTemplate {
    with_input: Vec<Piece>,
    without_input: Vec<Piece>,
    response_split: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Instruction,
    Input,
}

#[derive(Deserialize)]
struct TemplateFile {
    prompt_input: String,
    prompt_no_input: String,
    response_split: String,
}

impl PromptTemplate {
    /// Loads a built-in template by name, or a template file. An empty name means `alpaca`, as in alpaca-lora.
    ///
    /// # Errors
    /// [`DataError`] when there is no such template, or the file is not one.
    pub fn load(name: &str) -> Result<Self, DataError> {
        let name = if name.is_empty() { "alpaca" } else { name };
        if let Some((_, json)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Self::from_json(name, json);
        }
        let path = Path::new(name);
        if !path.exists() {
            return Err(DataError::UnknownTemplate {
                name: name.to_owned(),
                built_in: Self::built_in().to_vec(),
            });
        }
        let json = plain_files::read_text(path, MAX_BYTES)
            .map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        Self::from_json(name, &json)
    }

    /// Returns the names of the built-in templates.
    pub fn built_in() -> [&'static str; 4] {
        BUILT_IN.map(|(name, _)| name)
    }

    /// Reads a template from its JSON text; `name` names it in errors.
    ///
    /// # Errors
    /// [`DataError`] when it lacks a field, or names a placeholder other than `{instruction}` and `{input}`.
    pub fn from_json(name: &str, json: &str) -> Result<Self, DataError> {
        let file: TemplateFile = serde_json::from_str(json)
            .map_err(|source| DataError::TemplateJson { name: name.to_owned(), source })?;
        let wrong = |field, reason| DataError::Template { name: name.to_owned(), field, reason };
        let with_input = pieces(&file.prompt_input).map_err(|reason| wrong("prompt_input", reason))?;
        let without_input =
            pieces(&file.prompt_no_input).map_err(|reason| wrong("prompt_no_input", reason))?;
        for (field, pieces) in [("prompt_input", &with_input), ("prompt_no_input", &without_input)] {
            if !pieces.contains(&Piece::Instruction) {
                return Err(wrong(field, "has no {instruction}".to_owned()));
            }
        }
        if !with_input.contains(&Piece::Input) {
            return Err(wrong("prompt_input", "has no {input}".to_owned()));
        }
        if without_input.contains(&Piece::Input) {
            return Err(wrong(
                "prompt_no_input",
                "has an {input}, but is used where there is none".to_owned(),
            ));
        }
        if file.response_split.is_empty() {
            return Err(wrong("response_split", "is empty".to_owned()));
        }
        Ok(Self { with_input, without_input, response_split: file.response_split })
    }

    /// Renders the prompt of an instruction; the answer follows it directly. An empty input counts as none.
    pub fn prompt(&self, instruction: &str, input: Option<&str>) -> String {
        let input = input.unwrap_or_default();
        let pieces = if input.is_empty() { &self.without_input } else { &self.with_input };
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Instruction => instruction,
                Piece::Input => input,
            })
            .collect()
    }

    /// Extracts the answer from a generated text that still holds its prompt; returns the whole text when `response_split` is
    /// not in it.
    pub fn response_of<'a>(&self, text: &'a str) -> &'a str {
        // As `output.split(mark)[1]`: an answer that repeats the mark ends there.
        text.split(&self.response_split).nth(1).unwrap_or(text).trim()
    }
}

/// Reads a Python format string with the fields `instruction` and `input`.
fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        text.push_str(before);
        if brace.starts_with("{{") || brace.starts_with("}}") {
            text.push_str(&brace[..1]);
            rest = &brace[2..];
            continue;
        }
        let name = brace
            .strip_prefix('{')
            .and_then(|brace| brace.split_once('}'))
            .ok_or("has a brace without its partner; write `{{` or `}}` for a brace in the text")?;
        let piece = match name.0 {
            "instruction" => Piece::Instruction,
            "input" => Piece::Input,
            other => return Err(format!("names {{{other}}}; it may name {{instruction}} and {{input}}")),
        };
        pieces.extend([Piece::Text(std::mem::take(&mut text)), piece]);
        rest = name.1;
    }
    pieces.push(Piece::Text(text + rest));
    Ok(pieces)
}
