//! Prompts: an instruction for the template, or a text as it is.

/// A text to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// An instruction, for the prompt template; an empty input counts as none.
    Instruction { instruction: String, input: String },
    /// The whole text.
    Raw(String),
}
