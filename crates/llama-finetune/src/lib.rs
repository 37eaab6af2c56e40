//! Fine-tuning of LLaMA models as a library: open a model, attach an adapter, train, save, merge, generate.
//!
//! This crate composes the others of the workspace and re-exports the types that such a program needs. This one teaches the
//! embedded model a sentence in seconds:
//!
//! ```
//! use llama_finetune::{
//!     AdapterDir, Base, Device, Dtype, Example, FinetuneError, GenerateConfig, HuggingFace, LoraConfig,
//!     LoraModel, TrainConfig, Trainer, generate_text,
//! };
//!
//! fn fine_tune() -> Result<String, FinetuneError> {
//!     let base = Base::open("datasets/tiny-llama")?; // a directory, a GGUF file, or a name on the hub
//!     let tokenizer = base.tokenizer()?;
//!     let lora = LoraConfig { r: 16, ..LoraConfig::default() };
//!     let model = LoraModel::attach(base.load(Device::Cpu, Dtype::Auto)?, &lora)?;
//!     let data = vec![Example::text(&tokenizer, "Hugo is at home in the cave.")?];
//!     let train =
//!         TrainConfig { max_steps: Some(30), warmup_steps: 2, learning_rate: 3e-3, ..Default::default() };
//!     Trainer::new(&model, &data, train).run("target/hugo")?; // PEFT's files, metrics, checkpoints
//!     base.merge(&[AdapterDir::new("target/hugo")], &HuggingFace, "target/hugo-merged")?;
//!     generate_text(&model, &tokenizer, "Hugo is at", &GenerateConfig::default())
//! }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #     let (dir, datasets) = (tempfile::tempdir()?, std::fs::canonicalize("../../datasets")?);
//! #     std::os::unix::fs::symlink(datasets, dir.path().join("datasets"))?;
//! #     std::env::set_current_dir(&dir)?;
//! #     let untrained = Base::open("datasets/tiny-llama")?;
//! #     let (tokenizer, model) = (untrained.tokenizer()?, untrained.load(Device::Cpu, Dtype::Auto)?);
//! #     let before = generate_text(&model, &tokenizer, "Hugo is at", &GenerateConfig::default())?;
//! #     assert!(!before.starts_with(" home in the cave."), "{before}");
//! #     assert_eq!(fine_tune()?, " home in the cave.");
//! #     let merged = Base::open("target/hugo-merged")?.load(Device::Cpu, Dtype::Auto)?;
//! #     let answer = generate_text(&merged, &tokenizer, "Hugo is at", &GenerateConfig::default())?;
//! #     assert_eq!(answer, " home in the cave.");
//! #     Ok(())
//! # }
//! ```
//!
//! - **Training**: [`LoraModel`] and [`FullModel`] are what a [`Trainer`] trains on any [`Dataset`], such as `Vec<Example>`;
//!   [`TrainConfig`] decides how. [`RunPlan`] states memory, time and disk beforehand. [`TrainingData`] reads files of records;
//!   [`StartingPoint`], [`OutputMode`] and [`RunSummary`] are the beginning and the end of a run in a directory.
//! - **Models on disk**: [`Base`] opens and merges every form; [`ExtractedAdapter`] is the way back from a merge,
//!   [`verify_merge`] its proof on the model's own words, [`fresh_config`] and [`write_random_model`] make new models.
//! - **Text**: [`generate_text`] continues one prompt; [`TextModel`] answers instructions with its own templates, and
//!   [`PromptFile`] a file of them, which goes on where it stopped.
//! - **Measuring**: [`evaluate`] scores answers, [`answer_perplexity`] and [`text_perplexity`] predict, [`compare_models`]
//!   measures the distance of two models.
//! - **Several processes**: [`Launch`] and [`ProcessGroup`] join those that a launcher started, for [`Trainer::group`];
//!   [`run_processes`] starts them.
//! - **The machine**: [`DeviceChoice`] starts a device by name, [`set_threads`] sets the threads, [`Platform`] names libtorch and the
//!   processor.

// A message must never end the work: `eprintln!` panics where nobody reads.
#![warn(clippy::print_stderr)]

mod compare;
mod comparison;
mod device;
mod device_map;
mod error;
mod evaluation;
mod extract;
mod fresh_model;
mod full_model;
mod grown_vocabulary;
mod logits;
mod lora_model;
mod memory;
mod merge_order;
mod merge_report;
mod model_choice;
mod nvidia_smi;
mod output_dir;
mod perplexity;
mod platform;
mod prompt;
mod prompt_file;
mod quantization_choice;
mod run_inputs;
mod run_plan;
mod run_summary;
mod scores;
mod shown_record;
mod start_changes;
mod starting_point;
mod text;
mod text_model;
mod time_plan;
mod tokenization;
mod trained_with;
mod training_data;
mod verification;

pub use alpaca_data::{Example, PromptTemplate, Record, TokenizeConfig, load_records, tokenize_records};
pub use checkpoint::{
    AdapterDir, Base, CheckpointError, DeviceMap, Gguf, HuggingFace, MergeConfig, MergePlan, Meta, Precision,
};
pub use infer::{GenerateConfig, Perplexity, SamplingConfig};
pub use llama_model::{Llama, LlamaConfig};
pub use llama_tokenizer::LlamaTokenizer;
pub use lora::{Adapter, LoraConfig, TargetModules, VariantName};
pub use nn_core::{Dataset, Dtype, Trainable, UnknownSettings};
pub use process_group::{GroupError, Launch, ProcessGroup, run_processes};
pub use qlora_nf4::Quantization;
pub use tch::{Device, Kind};
pub use trainer::{LrScheduler, OptimizerKind, Outcome, Summary, TrainConfig, Trainer};

pub use compare::{Comparison, RecordComparison, compare_models};
pub use comparison::Distance;
pub use device::{DeviceChoice, free_bytes, peak_device_mib, peak_host_mib, set_threads};
pub use device_map::{DeviceMapChoice, DevicePart, PartBytes};
pub use error::FinetuneError;
pub use evaluation::{Evaluation, Sample, Score, evaluate};
pub use extract::ExtractedAdapter;
pub use fresh_model::{fresh_config, write_random_model};
pub use full_model::FullModel;
pub use grown_vocabulary::grown_vocabulary;
pub use logits::write_logits;
pub use lora_model::LoraModel;
pub use memory::{
    CacheRows, MemoryPlan, RunShape, adapter_parameters, base_bytes, cache_rows, kv_cache_bytes,
};
pub use merge_report::write_merge_report;
pub use model_choice::{LoadConfig, ModelChoice, OpenedModel, open_merge_base};
pub use output_dir::{OutputMode, write_run_file};
pub use perplexity::{answer_perplexity, text_perplexity};
pub use platform::Platform;
pub use prompt::Prompt;
pub use prompt_file::{AnsweringTime, PromptFile};
pub use quantization_choice::QuantizationChoice;
pub use run_inputs::RunInputs;
pub use run_plan::{DiskPlan, RunPlan};
pub use run_summary::RunSummary;
pub use scores::{exact_match, rouge_l};
pub use shown_record::{ShownRecord, answer_records};
pub use start_changes::start_changes;
pub use starting_point::StartingPoint;
pub use text::generate_text;
pub use text_model::{Answer, TextModel, TokenPiece, chat_template};
pub use time_plan::TimePlan;
pub use tokenization::{TokenAgreement, compare_tokenizers};
pub use trained_with::{AskedQuantization, TrainedWith};
pub use training_data::{DataConfig, TrainingData, Validation, read_records};
pub use verification::{Verification, VerifiedPrompt, verify_merge};
