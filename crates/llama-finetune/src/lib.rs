//! Fine-tuning of LLaMA models as a library: open a model, attach an adapter, train, save, merge, generate.
//!
//! This crate composes the others of the workspace and re-exports the types that such a program needs.

mod comparison;
mod device;
mod error;
mod evaluation;
mod fresh_model;
mod full_model;
mod lora_model;
mod memory;
mod perplexity;
mod scores;
mod text;

pub use comparison::{Distance, ModelOutputs};
pub use device::{DeviceChoice, free_gpu_bytes, peak_device_mib, peak_host_mib, set_threads};
pub use error::FinetuneError;
pub use evaluation::{Evaluation, Sample, Score, evaluate};
pub use fresh_model::{fresh_config, write_random_model};
pub use full_model::FullModel;
pub use lora_model::{LoraModel, with_adapter};
pub use memory::{MemoryPlan, RunShape, adapter_parameters, base_bytes};
pub use perplexity::{answer_perplexity, text_perplexity};
pub use scores::{exact_match, rouge_l};
pub use text::generate_text;
