//! A model with its tokenizer and template, loaded.

use std::sync::Arc;

use alpaca_data::{ChatTemplate, PromptTemplate};
use anyhow::Result;
use infer::{BoxError, TokenText};
use llama_finetune::with_adapter;
use llama_model::Llama;
use llama_tokenizer::LlamaTokenizer;
use nn_core::Dtype;
use serve::SourceText;
use tch::Device;

use super::prompts::Prompt;
use super::settings::SourceSpec;
use crate::chat::chat_template;
use crate::compute::Compute;
use crate::exit::usage;
use checkpoint::Base;

/// Loads models with the same settings.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) device: Device,
    pub(crate) compute: Compute,
    pub(crate) template: PromptTemplate,
}

/// A model that answers.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) model: Llama,
    pub(crate) text: Arc<ModelText>,
    pub(crate) eos_ids: Vec<i64>,
    pub(crate) chat: Option<ChatTemplate>,
}

impl Loader {
    /// Loads a base and its adapter, if it has one.
    pub(crate) fn load(&self, spec: &SourceSpec) -> Result<Loaded> {
        let SourceSpec { name, base: path, adapter } = spec;
        let Compute { dtype, quantization, unknown_settings, .. } = self.compute;
        let base = Base::open_with(path, unknown_settings)?;
        let tokenizer = base.tokenizer()?;
        let chat = chat_template(&base, &tokenizer)?;
        // Whoever asks for a chat hears of it; all else works.
        if let Some(error) = chat.as_ref().and_then(|template| template.check().err()) {
            tracing::warn!("the model `{}` refuses chats: {error}", base.dir.display());
        }
        let model = base.load_quantized(self.device, dtype, quantization)?;
        if let Some(dir) = adapter.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(usage(format!("adapter `{}` of source `{name}` is not a directory", dir.display())));
        }
        let model = with_adapter(model, adapter.as_deref(), unknown_settings)?;
        let kind = Dtype::name_of(model.kind());
        let kind = match quantization.or(base.stored_quantization()?) {
            Some(quantization) => format!("{}, {kind}", quantization.describe()),
            None => kind.to_owned(),
        };
        let description = match adapter {
            Some(dir) => format!("{path} + {} ({kind})", dir.display()),
            None => format!("{path} ({kind})"),
        };
        let eos_ids = base.eos_ids(&tokenizer);
        let max_token_bytes = max_token_bytes(&tokenizer);
        let text = Arc::new(ModelText { tokenizer, template: self.template.clone(), max_token_bytes });
        Ok(Loaded { name: name.clone(), description, model, text, eos_ids, chat })
    }
}

/// A tokenizer and the prompt template.
#[derive(Debug)]
pub(crate) struct ModelText {
    pub(crate) tokenizer: LlamaTokenizer,
    pub(crate) template: PromptTemplate,
    max_token_bytes: usize,
}

/// Returns the most bytes of text that a token stands for: a normaliser may join three characters in one, so four times those
/// of the longest token.
fn max_token_bytes(tokenizer: &LlamaTokenizer) -> usize {
    let ids = 0..tokenizer.vocab_size() as i64;
    4 * ids.filter_map(|id| tokenizer.token(id)).map(|token| token.len()).max().unwrap_or(1)
}

impl ModelText {
    /// Tokenises a prompt.
    pub(crate) fn ids(&self, prompt: &Prompt) -> Result<Vec<i64>> {
        let text = match prompt {
            Prompt::Raw(text) => text.clone(),
            Prompt::Instruction { instruction, input } => self.template.prompt(instruction, Some(input)),
        };
        Ok(self.tokenizer.encode(&text, true)?)
    }
}

impl TokenText for ModelText {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}

impl SourceText for ModelText {
    fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<i64>, BoxError> {
        Ok(self.tokenizer.encode(text, add_bos)?)
    }

    fn decode_all(&self, ids: &[i64]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, false)?)
    }

    fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }
}
