//! Prompts: an instruction for the template, or a text as it is.

use serde::{Deserialize, Serialize};

/// A text that a model continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// An instruction, for the prompt template; an empty input counts as none.
    Instruction {
        /// The task.
        instruction: String,
        /// Its input, or nothing.
        input: String,
    },
    /// The whole text.
    Text {
        /// The text.
        prompt: String,
    },
}

impl Prompt {
    /// Makes a prompt of an instruction without input.
    pub fn instruction(text: &str) -> Self {
        Self::Instruction { instruction: text.to_owned(), input: String::new() }
    }

    /// Makes a prompt of a text, which is continued as it is.
    pub fn text(text: &str) -> Self {
        Self::Text { prompt: text.to_owned() }
    }
}
