//! The LLaMA architecture (Touvron et al., 2023, arXiv 2302.13971 and 2307.09288; Llama 3, arXiv 2407.21783) and its relatives on libtorch.
//!
//! [`FAMILIES`] lists the families of models. A [`Family`] reads its `config.json` into a [`LlamaConfig`] whose [`DecoderSpec`]
//! says which optional parts the decoder has; one decoder, [`Llama`], is built for all of them. [`TensorName`] gives the names
//! of tensors in other formats.
//!
//! Weights are named and laid out as Hugging Face checkpoints have them. The model is built through a
//! [`nn_core::LinearSource`], so it does not know where its weights come from or whether they are quantised, and shows
//! its linear layers through [`nn_core::VisitLinears`], so it does not know of adapters.
//!
//! Training reads unpadded [`nn_core::TokenBatch`]es through [`Llama::loss_sum`]; generation goes through
//! [`nn_core::CausalLm`].

mod attention;
mod cache;
mod config;
mod config_json;
mod config_keys;
mod decode;
mod error;
mod families;
mod family;
mod fields;
mod finite;
mod fixed_step;
mod graphs;
mod head;
mod layer;
mod limits;
mod load;
mod lock;
mod mlp;
mod model;
mod modules;
mod norm;
mod on_each;
mod presets;
mod random;
mod rope;
mod rope_scaling;
mod sequences;
mod shapes;
mod spec;
mod token_ids;

pub use config::LlamaConfig;
pub use config_keys::{CONFIG_KEYS, ROPE_KEYS};
pub use error::ModelError;
pub use families::FAMILIES;
pub use family::Family;
pub use model::Llama;
pub use modules::{Module, TensorName, Width};
pub use presets::{PRESETS, preset};
pub use random::RandomSource;
pub use rope_scaling::RopeScaling;
pub use spec::DecoderSpec;
pub use token_ids::TokenIds;

#[cfg(test)]
torch_ext::load_cuda_first!();
