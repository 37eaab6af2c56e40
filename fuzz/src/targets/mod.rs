//! The targets, one a file.

mod adapter;
mod chat_template;
mod config_json;
mod gguf;
mod http;
mod params_json;
mod prompt_file;
mod prompt_template;
mod records;
mod run_toml;
mod safetensors;
mod tensors;
mod tokenizer;
mod torch_file;
mod trainer_state;

use crate::Target;

/// All targets.
pub const TARGETS: &[Target] = &[
    safetensors::FILE,
    safetensors::INDEX,
    torch_file::ZIP,
    torch_file::LEGACY,
    torch_file::PICKLE,
    gguf::TARGET,
    tokenizer::JSON,
    tokenizer::MODEL,
    config_json::TARGET,
    params_json::TARGET,
    adapter::TARGET,
    prompt_template::TARGET,
    chat_template::TARGET,
    records::TARGET,
    prompt_file::TARGET,
    run_toml::TARGET,
    trainer_state::TARGET,
    http::TARGET,
];

/// Finds a target by name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
