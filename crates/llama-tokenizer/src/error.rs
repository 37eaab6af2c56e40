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
    /// A SentencePiece model of a kind LLaMA never used.
    #[error("`{path}` has {setting} = {actual}; a LLaMA tokenizer has {expected}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The setting, as SentencePiece names it.
        setting: &'static str,
        /// Its value.
        actual: String,
        /// The value that can be converted.
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
    /// `tokenizers` refuses the file, a text or ids.
    #[error("{what}: {reason}")]
    Library {
        /// Action and its object.
        what: String,
        /// The library's words.
        reason: String,
    },
}
