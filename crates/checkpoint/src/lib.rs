//! Every form of a model, opened and written: Hugging Face's directories, Meta's state dicts, GGUF files.
//!
//! [`Base::open`] takes a directory, a file, or the name of a model on the hub and recognises its form; tokenizer,
//! chat template and weights are then read the same way whatever it is, and [`Base::load`] gives the model.
//! [`Base::merge`] adds adapters and writes the result in any form.
//!
//! A form is one folder of `formats`, which implements [`Format`], and one line of [`FORMATS`]. Inside, tensors have
//! Hugging Face's names, shapes and order of rows.

mod base;
mod chat_template;
mod chat_tokens;
mod config;
mod device_map;
mod error;
mod fill;
mod format;
mod formats;
mod generation_config;
mod head_of_embedding;
mod hub;
mod linears;
mod memory;
mod merged_model;
mod model_files;
mod plan;
mod row_order;
mod text_file;
mod tokenizer_beside;
mod tokenizer_files;
mod write;

pub use base::{Base, LoadTimes};
pub use config::{AdapterDir, MergeConfig};
pub use device_map::DeviceMap;
pub use error::CheckpointError;
pub use format::{Format, Supports};
pub use formats::{FORMATS, Gguf, HuggingFace, Meta};
pub use hub::{RepoKind, find_adapter, find_records};
pub use linears::{linears, model_shape};
pub use memory::{auto_kind, exact_kind, free_host_bytes};
pub use merged_model::{MergedModel, Precision, WriteSettings};
pub use model_files::ModelFiles;
pub use plan::MergePlan;
pub use tokenizer_files::copy_tokenizer_files;
pub use write::MergedFiles;
