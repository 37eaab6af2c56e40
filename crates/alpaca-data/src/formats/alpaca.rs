//! Alpaca records: `{"instruction": …, "input": …, "output": …}`, rendered by the prompt template.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::columns::filled;
use crate::json::take_string;
use crate::record_format::Format;
use crate::{PromptTemplate, Templates, TrainingText};

/// One Alpaca record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Task of the model.
    pub instruction: String,
    /// Material of the task; empty where the instruction says it all.
    #[serde(default)]
    pub input: String,
    /// Answer of the model.
    pub output: String,
}

pub(super) struct Alpaca;

impl Format for Alpaca {
    fn detect(&self, record: &Map<String, Value>) -> bool {
        record.contains_key("instruction")
    }

    /// Lists LLaMA-Factory's columns (`data/README.md`), and others' names of them.
    fn unread(&self) -> &'static [&'static str] {
        &["system", "system_prompt", "history", "context", "tools", "image", "images", "videos", "audios"]
    }

    fn render(&self, record: Map<String, Value>, templates: &Templates) -> Result<TrainingText, String> {
        Ok(Record::from_json(record)?.render(&templates.prompt))
    }
}

/// Lists the columns of a prompt that say something, and that no prompt template has a place for: `system`, `history` and
/// others of an Alpaca record.
pub fn unread_columns(prompt: &Map<String, Value>) -> Vec<&'static str> {
    filled(prompt, Alpaca.unread())
}

impl Record {
    /// Reads a record: `instruction` and `output` are required strings; `input` may be absent, null or empty; other
    /// fields are left alone, but for [`Format::unread`].
    pub(crate) fn from_json(mut fields: Map<String, Value>) -> Result<Self, String> {
        let record = Self {
            instruction: take_string(&mut fields, "instruction")?.ok_or("has no `instruction`")?,
            input: take_string(&mut fields, "input")?.unwrap_or_default(),
            output: take_string(&mut fields, "output")?.ok_or("has no `output`")?,
        };
        if record.instruction.trim().is_empty() {
            return Err("has an empty `instruction`".to_owned());
        }
        Ok(record)
    }

    /// Renders the prompt and, as the answer, the output.
    pub fn render(&self, template: &PromptTemplate) -> TrainingText {
        TrainingText::answer(template.prompt(&self.instruction, Some(&self.input)), &self.output)
    }
}
