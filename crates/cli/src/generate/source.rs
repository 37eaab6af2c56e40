//! The models of a program, loaded.

use alpaca_data::PromptTemplate;
use anyhow::Result;
use llama_finetune::{LoadConfig, TextModel};

use super::settings::SourceSpec;
use crate::exit::usage;

/// Loads models with the same settings.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) config: LoadConfig,
    pub(crate) template: PromptTemplate,
}

/// A model that answers, and its name.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) model: TextModel,
}

impl Loader {
    /// Loads a base and its adapter, if it has one.
    pub(crate) fn load(&self, spec: SourceSpec) -> Result<Loaded> {
        let SourceSpec { name, base, adapter } = spec;
        if let Some(dir) = adapter.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(usage(format!("adapter `{}` of source `{name}` is not a directory", dir.display())));
        }
        let model = TextModel::open(&base, adapter.as_deref(), self.template.clone(), &self.config)?;
        Ok(Loaded { name, model })
    }
}
