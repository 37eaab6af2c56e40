//! LLaMA tokenizers, from `tokenizer.json` or from the bare SentencePiece `tokenizer.model` of older checkpoints.
//!
//! [`LlamaTokenizer`] encodes and decodes with the `tokenizers` library in both cases: a SentencePiece model is converted
//! in process to its BPE with byte fallback, with the same ids; so are the lists that GGUF files keep ([`TokenizerParts`],
//! which [`TokenizerParts::from_dir`] makes of the files of a directory). [`check_special_ids`] finds the wrong special token ids
//! that early conversions left in `config.json`.

mod added;
mod beside;
mod byte_level;
mod convert;
mod error;
mod export;
mod files;
mod library;
mod merges;
mod parts;
mod sentencepiece;
mod special_ids;
mod tokenizer;

pub use error::TokenizerError;
pub use parts::{Pieces, TokenizerParts};
pub use special_ids::{SpecialIdProblem, check_special_ids};
pub use tokenizer::LlamaTokenizer;
