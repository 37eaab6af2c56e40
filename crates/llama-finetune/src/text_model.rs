//! A model that answers: weights, tokenizer and templates, loaded together.

use std::ops::ControlFlow;
use std::time::Instant;

use alpaca_data::{ChatTemplate, PromptTemplate};
use checkpoint::Base;
use infer::{BatchEvent, Batcher, FinishReason, GenerateConfig, Generation, InferError, Request};
use llama_model::Llama;
use llama_tokenizer::LlamaTokenizer;
use nn_core::CausalLm;
use serde::{Deserialize, Serialize};

use crate::text::Decoder;
use crate::{FinetuneError, ModelChoice, OpenedModel, Prompt};

/// A model that answers, with its tokenizer and templates.
#[derive(Debug)]
pub struct TextModel {
    /// The model, adapter included.
    pub model: Llama,
    /// Its tokenizer.
    pub tokenizer: LlamaTokenizer,
    /// Template of instructions.
    pub template: PromptTemplate,
    /// Template of chats, where the base has one.
    pub chat: Option<ChatTemplate>,
    /// Tokens that end an answer.
    pub eos_ids: Vec<i64>,
    /// Base, adapter and precision in a line.
    pub description: String,
}

/// A token and its piece in the vocabulary, such as `▁sun` or `<0x0A>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPiece {
    /// Its id.
    pub id: i64,
    /// Its piece; empty for an id beyond the vocabulary.
    pub piece: String,
}

/// An answer and the time it took.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Tokens, text and why it ended.
    pub generation: Generation,
    /// Ids of the prompt's tokens.
    pub prompt_ids: Vec<i64>,
    /// Seconds until the first token.
    pub first_token_s: f64,
    /// Seconds until the last one.
    pub seconds: f64,
}

impl TextModel {
    /// Opens and loads a model. Instructions are put to it in `template`, the name of one or a file; where it is none, in the
    /// template that the adapter was trained with, or else Alpaca's.
    ///
    /// # Errors
    /// When the base, the adapter or the template cannot be read, or do not fit each other.
    pub fn open(choice: &ModelChoice<'_>, template: Option<&str>) -> Result<Self, FinetuneError> {
        Self::opened(choice, template, |opened| Ok((opened.load()?, None))).map(|(model, _)| model)
    }

    /// Opens a model as [`TextModel::open`] does, and for one with an adapter its base too: the same weights, loaded once, with the
    /// same tokenizer and templates, without the adapter.
    ///
    /// # Errors
    /// Those of [`TextModel::open`].
    pub fn open_with_base(
        choice: &ModelChoice<'_>,
        template: Option<&str>,
    ) -> Result<(Self, Option<Self>), FinetuneError> {
        Self::opened(choice, template, OpenedModel::load_with_base)
    }

    /// Opens a model, and what `load` returns beside it.
    fn opened(
        choice: &ModelChoice<'_>,
        template: Option<&str>,
        load: impl FnOnce(&OpenedModel) -> Result<(Llama, Option<Llama>), FinetuneError>,
    ) -> Result<(Self, Option<Self>), FinetuneError> {
        let opened = choice.open()?;
        let template = opened.trained_with.template(template)?;
        let base = &opened.base;
        let tokenizer = base.tokenizer()?;
        let chat = chat_template(base, &tokenizer)?;
        // Whoever asks for a chat hears of it; all else works.
        if let Some(error) = chat.as_ref().and_then(|template| template.check().err()) {
            tracing::warn!("the model `{}` refuses chats: {error}", base.dir.display());
        }
        let eos_ids = base.eos_ids(&tokenizer);
        let (model, without) = load(&opened)?;
        let without = match without {
            Some(model) => Some(Self {
                description: opened.describe_base(&model)?,
                model,
                tokenizer: tokenizer.clone(),
                template: template.clone(),
                chat: chat_template(base, &tokenizer)?,
                eos_ids: eos_ids.clone(),
            }),
            None => None,
        };
        let description = opened.describe(&model)?;
        Ok((Self { model, tokenizer, template, chat, eos_ids, description }, without))
    }

    /// Tokenises a prompt.
    ///
    /// # Errors
    /// [`FinetuneError::Tokenizer`] when the tokenizer refuses the text.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<i64>, FinetuneError> {
        Ok(match prompt {
            Prompt::Text { prompt } => self.tokenizer.encode(prompt, true)?,
            Prompt::Instruction { instruction, input } => {
                self.tokenizer.encode(&self.template.prompt(instruction, Some(input)), true)?
            }
        })
    }

    /// Answers one prompt; the model's own end tokens end it. `on_token` gets what each token adds to the text, perhaps
    /// nothing; when it breaks, the answer ends as [`FinishReason::Cancelled`].
    ///
    /// # Errors
    /// [`FinetuneError::Infer`] when a setting is out of range, the prompt has no room, or the model fails.
    pub fn answer(
        &self,
        prompt: &Prompt,
        config: &GenerateConfig,
        on_token: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer, FinetuneError> {
        let begun = Instant::now();
        let config = self.settings_of(prompt, 0, config);
        let prompt_ids = self.encode(prompt)?;
        let (prompt_tokens, longest) = (prompt_ids.len(), self.model.max_len());
        if prompt_tokens >= longest {
            return Err(InferError::PromptTooLong { tokens: prompt_tokens, capacity: longest }.into());
        }
        let capacity = longest.min(prompt_tokens + config.max_new_tokens);
        let decoder = Decoder(&self.tokenizer);
        let mut batcher = Batcher::new(&self.model, &decoder, config.sampling.num_beams, capacity)?;
        let id = batcher.add(Request { prompt: prompt_ids.clone(), config })?;
        let mut first_token_s = None;
        let mut generation =
            Generation { ids: Vec::new(), text: String::new(), finish: FinishReason::Cancelled };
        while !batcher.is_idle() {
            for event in batcher.step() {
                match event {
                    BatchEvent::Token { text, .. } => {
                        first_token_s.get_or_insert_with(|| begun.elapsed().as_secs_f64());
                        if on_token(&text).is_break()
                            && let Some(cancelled) = batcher.cancel(id)
                        {
                            generation = cancelled;
                        }
                    }
                    BatchEvent::Finished { generation: finished, .. } => generation = finished,
                    BatchEvent::Failed { error, .. } => return Err(error.into()),
                }
            }
        }
        let first_token_s = first_token_s.unwrap_or_default();
        Ok(Answer { generation, prompt_ids, first_token_s, seconds: begun.elapsed().as_secs_f64() })
    }

    /// Returns the settings of the answer to `prompt`, the one at `index` of those that are asked for together: the model's end
    /// tokens, draws of its own, and for a text that is continued the space before its first word.
    pub(crate) fn settings_of(
        &self,
        prompt: &Prompt,
        index: usize,
        config: &GenerateConfig,
    ) -> GenerateConfig {
        GenerateConfig {
            eos_ids: self.eos_ids.clone(),
            continues_prompt: matches!(prompt, Prompt::Text { .. }),
            sampling: config.sampling.of_answer(index),
            ..config.clone()
        }
    }

    /// Returns the pieces of the vocabulary that these ids stand for.
    pub fn pieces(&self, ids: &[i64]) -> Vec<TokenPiece> {
        let piece = |&id: &i64| TokenPiece { id, piece: self.tokenizer.token(id).unwrap_or_default() };
        ids.iter().map(piece).collect()
    }
}

/// Reads the chat template of a base, if it has one. One that is not valid Jinja fails when it is checked or used.
///
/// # Errors
/// [`FinetuneError::Checkpoint`] when the file that should hold it cannot be read.
pub fn chat_template(base: &Base, tokenizer: &LlamaTokenizer) -> Result<Option<ChatTemplate>, FinetuneError> {
    let tokens = base.chat_tokens(tokenizer);
    Ok(base.chat_template()?.map(|source| ChatTemplate::new(source, "", "").with_tokens(&tokens)))
}
