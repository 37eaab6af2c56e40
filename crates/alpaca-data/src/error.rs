//! What can be wrong with data.

use std::path::PathBuf;

use llama_tokenizer::TokenizerError;

use crate::records::BadRecord;

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("`{path}` is not UTF-8 text: the byte at {offset} is wrong; save it as UTF-8")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first wrong byte.
        offset: usize,
    },
    /// The file is not JSON of the expected form.
    #[error("`{path}` is not a JSON array of records, nor one JSON record a line")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where the reader stopped, and why.
        #[source]
        source: serde_json::Error,
    },
    /// The file starts with something that is neither an array nor an object.
    #[error(
        "`{path}` starts with `{start}`; expected `[` (a JSON array of records) or `{{` (one JSON record a line)"
    )]
    NotRecords {
        /// The file.
        path: PathBuf,
        /// Its first character that is not white space.
        start: char,
    },
    /// No record at all.
    #[error("`{path}` holds no usable record ({skipped} bad ones left out)")]
    Empty {
        /// The file.
        path: PathBuf,
        /// Bad records that were left out.
        skipped: usize,
    },
    /// A record that cannot be used.
    #[error("`{path}`: {record}; correct it, or leave bad records out with --skip_bad_records")]
    Record {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        record: BadRecord,
    },
    /// A name that is neither a built-in template nor a file.
    #[error("prompt template `{name}` is not built in ({}) and not a file", built_in.join(", "))]
    UnknownTemplate {
        /// As given.
        name: String,
        /// What there is.
        built_in: Vec<&'static str>,
    },
    /// A template that is not JSON, or lacks a field.
    #[error(
        "prompt template `{name}` is not an alpaca-lora template (prompt_input, prompt_no_input, response_split)"
    )]
    TemplateJson {
        /// Name or file.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A placeholder with another name, or braces that do not match.
    #[error("{field} of prompt template `{name}`: {reason}")]
    Template {
        /// Name or file.
        name: String,
        /// `prompt_input`, `prompt_no_input` or `response_split`.
        field: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A chat template that is not valid Jinja.
    #[error("the chat template cannot be read: {reason}")]
    ChatTemplate {
        /// The parser's message.
        reason: String,
    },
    /// More validation records than records.
    #[error(
        "val_set_size is {validation}, but there are {records} records, and at least one has to be left for training"
    )]
    Split {
        /// Records asked for validation.
        validation: usize,
        /// Records there are.
        records: usize,
    },
    /// No room for a token.
    #[error("{name} is {actual}; it has to be at least {least}")]
    TooShort {
        /// The setting.
        name: &'static str,
        /// Its value.
        actual: usize,
        /// The least that makes sense.
        least: usize,
    },
    /// Nothing is left to learn from.
    #[error(
        "none of {records} records has an answer token within cutoff_len {cutoff_len}; raise --cutoff_len or train on \
         inputs"
    )]
    NoLabels {
        /// Records read.
        records: usize,
        /// The cutoff.
        cutoff_len: usize,
    },
    /// The tokenizer refuses a text.
    #[error("record {index} cannot be tokenised")]
    Tokenize {
        /// Index in the list given.
        index: usize,
        /// Why.
        #[source]
        source: TokenizerError,
    },
}
