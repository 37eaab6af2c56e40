//! Faults of a tokenizer.

use std::path::PathBuf;

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The directory holds neither form.
    #[error(
        "`{dir}` holds neither tokenizer.json nor tokenizer.model; copy one from the model's original files"
    )]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not JSON, or is cut short.
    #[error("`{path}` is not valid JSON")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it stops being JSON.
        #[source]
        source: serde_json::Error,
    },
    /// The file is not a SentencePiece model, or is cut short.
    #[error("`{path}` is not a whole SentencePiece model: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Place at which reading stopped.
        reason: String,
    },
    /// The lists that Llama 3's own releases call `tokenizer.model`.
    #[error(
        "`{path}` is in tiktoken's form, which is not read; put the tokenizer.json of the Hugging Face version beside it"
    )]
    Tiktoken {
        /// The file.
        path: PathBuf,
    },
    /// A setting that no LLaMA tokenizer has.
    #[error("`{path}` has {setting} = {actual}; a LLaMA tokenizer has {expected}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The setting, as the file names it.
        setting: &'static str,
        /// Its value.
        actual: String,
        /// The value it has to have.
        expected: &'static str,
    },
    /// Lists that do not fit each other, or an id outside them.
    #[error("the tokenizer of `{path}` has {what} {actual}; expected {expected}")]
    Parts {
        /// The file.
        path: PathBuf,
        /// The list or the setting.
        what: &'static str,
        /// Its size or value.
        actual: String,
        /// The size or value it has to have.
        expected: String,
    },
    /// No begin or end token can be found.
    #[error("`{path}` has no {role} token: none of {} is in its vocabulary", candidates.join(", "))]
    NoSpecialToken {
        /// The file.
        path: PathBuf,
        /// `begin of text` or `end of text`.
        role: &'static str,
        /// Tokens looked for.
        candidates: Vec<String>,
    },
    /// `tokenizers` refuses the file, a text or ids, or panics.
    #[error("{what}: {reason}")]
    Library {
        /// Action and its object.
        what: String,
        /// The library's words.
        reason: String,
    },
}

impl TokenizerError {
    /// Tells whether a file is there but is not what it was written as, rather than missing or of another kind.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Json { .. } | Self::Damaged { .. })
    }
}
