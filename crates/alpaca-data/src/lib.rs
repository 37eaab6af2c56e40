//! Alpaca data: from a file of records to the token batches of a training step.
//!
//! [`load_records`] reads records, [`PromptTemplate`] turns a record into a prompt, [`tokenize_records`] into token ids
//! and labels, [`split`] and [`EpochOrder`] decide who is read when, [`batch`] puts examples one after another.
//! [`pack_documents`] is the plain-text counterpart for pre-training. File formats and masking are those of
//! tloen/alpaca-lora (`finetune.py`, `utils/prompter.py`).

mod batch;
mod chat_template;
mod error;
mod messages;
mod order;
mod pack;
mod record;
mod template;
mod tokenize;

pub use batch::{PadSide, PaddedBatch, batch, pad_batch};
pub use chat_template::ChatTemplate;
pub use error::DataError;
pub use messages::Message;
pub use order::{EpochOrder, Split, split};
pub use pack::pack_documents;
pub use record::{BadRecord, BadRecords, Record, Records, load_records, parse_records};
pub use template::{BUILT_IN_TEMPLATES, PromptTemplate};
pub use tokenize::{Example, TokenizeConfig, TokenizeReport, tokenize_records};
