//! The models of a program, loaded.

use anyhow::Result;
use llama_finetune::{LoadConfig, ModelChoice, TextModel};

use super::settings::SourceSpec;

/// Loads models with the same settings.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) config: LoadConfig,
    /// Name or file of the prompt template; that of each adapter where it is none.
    pub(crate) template: Option<String>,
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
        let choice =
            ModelChoice { base_model: base.as_deref(), adapter: adapter.as_deref(), load: self.config };
        let model = TextModel::open(&choice, self.template.as_deref())?;
        Ok(Loaded { name, model })
    }

    /// Loads a base and its adapter, and for the latter the same weights without it too.
    pub(crate) fn load_with_base(&self, spec: SourceSpec) -> Result<(Loaded, Option<TextModel>)> {
        let SourceSpec { name, base, adapter } = spec;
        let choice =
            ModelChoice { base_model: base.as_deref(), adapter: adapter.as_deref(), load: self.config };
        let (model, base) = TextModel::open_with_base(&choice, self.template.as_deref())?;
        Ok((Loaded { name, model }, base))
    }
}
