//! Errors of reading and tokenising data.

use std::path::PathBuf;

use llama_tokenizer::TokenizerError;

use crate::{BadRecord, Foreign};

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// File that was read.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("`{path}` is not UTF-8 text: the byte at {offset} is wrong; save it as UTF-8")]
    NotText {
        /// File that was read.
        path: PathBuf,
        /// Offset of the first wrong byte.
        offset: usize,
    },
    /// The file is of another kind.
    #[error("`{path}` is {found}")]
    Foreign {
        /// File that was read.
        path: PathBuf,
        /// Its kind, and the way to its records.
        found: Foreign,
    },
    /// The file is JSON, but not an array of records.
    #[error("`{path}` is {what}")]
    NotAnArray {
        /// File that was read.
        path: PathBuf,
        /// Its contents, and the expected ones.
        what: String,
    },
    /// The file is not JSON of the expected form.
    #[error("`{path}` is not a JSON array of records, nor one JSON record a line")]
    Json {
        /// File that was read.
        path: PathBuf,
        /// Parser's error, with its position.
        #[source]
        source: serde_json::Error,
    },
    /// The file starts with something that is neither an array nor an object.
    #[error(
        "`{path}` starts with `{start}`; expected `[` (a JSON array of records) or `{{` (one JSON record a line)"
    )]
    NotRecords {
        /// File that was read.
        path: PathBuf,
        /// Its first character that is not white space.
        start: char,
    },
    /// The file holds no usable record.
    #[error("`{path}` holds no usable record ({skipped} bad ones left out)")]
    Empty {
        /// File that was read.
        path: PathBuf,
        /// Number of bad records left out.
        skipped: usize,
    },
    /// A record cannot be used.
    #[error("`{path}`: {record}")]
    Record {
        /// File that was read.
        path: PathBuf,
        /// Its position and the reason.
        record: BadRecord,
    },
    /// A record fills a column that its format does not read.
    #[error(
        "`{path}`: record {index} (line {line}) fills the column `{column}`, which has no place in the prompt: what it says \
         would be lost"
    )]
    Column {
        /// File that was read.
        path: PathBuf,
        /// Index of the record in the file, from 0.
        index: usize,
        /// Line it starts on, from 1.
        line: usize,
        /// The first column of this kind.
        column: &'static str,
    },
    /// A prompt template is neither built in nor a file.
    #[error("prompt template `{name}` is not built in ({}) and not a file", built_in.join(", "))]
    UnknownTemplate {
        /// Name as given.
        name: String,
        /// Names of the built-in templates.
        built_in: Vec<&'static str>,
    },
    /// A prompt template is not JSON or lacks a field.
    #[error(
        "prompt template `{name}` is not an alpaca-lora template (prompt_input, prompt_no_input, response_split)"
    )]
    TemplateJson {
        /// Name or file.
        name: String,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// A prompt template has an unknown placeholder or unmatched braces.
    #[error("{field} of prompt template `{name}`: {reason}")]
    Template {
        /// Name or file.
        name: String,
        /// `prompt_input`, `prompt_no_input` or `response_split`.
        field: &'static str,
        /// Reason, with what is expected.
        reason: String,
    },
    /// A chat template is not valid Jinja.
    #[error("the chat template cannot be read: {reason}")]
    ChatTemplate {
        /// Parser's message.
        reason: String,
    },
    /// There are more validation records than records.
    #[error(
        "val_set_size is {validation}, but there are {records} records, and at least one has to be left for training"
    )]
    Split {
        /// Number of records asked for validation.
        validation: usize,
        /// Number of records.
        records: usize,
    },
    /// A length is too short.
    #[error("{name} is {actual}; it has to be at least {least}")]
    TooShort {
        /// Name of the setting.
        name: &'static str,
        /// Value of the setting.
        actual: usize,
        /// Smallest valid value.
        least: usize,
    },
    /// No record has a label.
    #[error("none of {records} records has an answer token within cutoff_len {cutoff_len}")]
    NoLabels {
        /// Number of records.
        records: usize,
        /// Value of `cutoff_len`.
        cutoff_len: usize,
    },
    /// A text cannot be tokenised.
    #[error("record {index} cannot be tokenised")]
    Tokenize {
        /// Index in the list of texts.
        index: usize,
        /// Cause.
        #[source]
        source: TokenizerError,
    },
}

impl DataError {
    /// Tells whether what the caller gave is wrong: all but a text that the tokenizer refuses.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Tokenize { .. })
    }
}
