//! Closed world of the embedded data, generated from one fixed seed.
//!
//! People who are animals, live in places and own things; words with opposites, plurals, groups, colours and letters;
//! lists. [`documents`] writes about it as plain text, [`Tasks::records`] asks about it in Alpaca format, and
//! [`train_tokenizer`] makes the tokenizer of the model that reads both. The corpus states what validation and test ask
//! in other words only.

mod corpus;
mod dialogue;
mod dice;
mod people;
mod records;
mod rows;
mod sieve;
mod stories;
mod task;
mod tasks;
mod tokenizer;
mod words;

pub use corpus::{DOCUMENTS, documents};
pub use dice::SEED;
pub use records::{KINDS, Record, Tasks};
pub use sieve::normalised;
pub use task::{Ask, Split, Task};
pub use tokenizer::{
    BOS, EOS, UNK, VOCAB_SIZE, config as tokenizer_config, special_tokens_map, train as train_tokenizer,
};
