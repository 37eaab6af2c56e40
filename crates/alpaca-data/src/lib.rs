//! Training data: from a file of records to the token batches of a training step.
//!
//! [`load_training_texts`] renders the records of a file, of any format in `formats/`, by the model's [`Templates`];
//! [`tokenize`] turns the texts into [`Example`]s, token ids and labels; [`split`] deals records to training and validation.
//! A `Vec<Example>` is an [`nn_core::Dataset`], and so is [`GroupedByLength`]. [`pack_documents`] is the counterpart for
//! pre-training on plain text. Alpaca's file format, templates and masking are those of tloen/alpaca-lora (`finetune.py`,
//! `utils/prompter.py`).

mod bad_record;
mod chat_template;
mod columns;
mod conversation;
mod error;
mod example;
mod foreign;
mod formats;
mod items;
mod json;
mod message;
mod order;
mod pack;
mod prompt_template;
mod record_format;
mod records;
mod tokenize;
mod training_text;

pub use bad_record::BadRecord;
pub use chat_template::ChatTemplate;
pub use columns::IgnoredColumns;
pub use conversation::Templates;
pub use error::DataError;
pub use example::Example;
pub use foreign::Foreign;
pub use formats::{Record, unread_columns};
pub use message::Message;
pub use order::{GroupedByLength, Split, split};
pub use pack::pack_documents;
pub use prompt_template::PromptTemplate;
pub use records::{
    BadRecords, ReadConfig, Records, load_kinds, load_records, load_training_texts, read_file,
};
pub use tokenize::{TokenizeConfig, TokenizeReport, tokenize, tokenize_records};
pub use training_text::TrainingText;
