//! The server.

use std::sync::Arc;

use alpaca_data::Templates;
use anyhow::Result;
use infer::{BoxError, TokenText};
use llama_finetune::{TextModel, free_bytes, kv_cache_bytes, rows_that_fit};
use llama_tokenizer::LlamaTokenizer;
use nn_core::CausalLm;
use serve::{Limits, ServeConfig, Server, Source, SourceText};
use terminal::{bytes, on_first_signal, say};

use super::source::Loaded;
use crate::exit::usage;

/// Serves until Ctrl-C.
pub(crate) fn run(sources: Vec<Loaded>, mut config: ServeConfig) -> Result<()> {
    for source in &sources {
        tracing::info!("source `{}`: {}", source.name, source.model.description);
    }
    fit_rows(&sources, &mut config.limits);
    let open = !config.address.ip().is_loopback() && config.api_key.is_none();
    let sources = sources.into_iter().map(served).collect();
    let server = Server::bind(sources, config).map_err(|error| match error {
        serve::ServeError::SameName { .. } => usage(error.to_string()),
        other => other.into(),
    })?;
    let stop = server.stop_handle();
    on_first_signal(move || {
        stop.stop();
        say(
            "stopping: answers that are being written have a few seconds (press Ctrl-C again to end at once)",
        );
    })?;
    if open {
        tracing::warn!("every machine that reaches this one may use the model: there is no --api_key");
    }
    tracing::info!("listening on http://{} (Ctrl-C stops)", server.local_addr());
    Ok(server.run()?)
}

/// Lowers `limits.rows` to what the free memory holds: the keys and values of all rows are allocated when the first request
/// comes, and must not be what ends the server.
fn fit_rows(sources: &[Loaded], limits: &mut Limits) {
    let models = || sources.iter().map(|source| &source.model.model);
    let longest = limits.prompt_tokens + limits.new_tokens;
    let row_bytes: f64 = models()
        .map(|model| kv_cache_bytes(model.config(), model.kind(), model.max_len().min(longest)))
        .sum();
    let Some(free) = models().next().and_then(|model| free_bytes(model.device())) else { return };
    let rows = rows_that_fit(row_bytes, free).min(limits.rows);
    if rows < limits.rows {
        tracing::warn!(
            "max_rows is {rows}, not {}: {} are free, and the keys and values of a row take {} \
             (lower max_prompt_tokens or max_answer_tokens for more rows)",
            limits.rows,
            bytes(free),
            bytes(row_bytes)
        );
        limits.rows = rows;
    }
}

fn served(source: Loaded) -> Source {
    let Loaded { name, model } = source;
    let TextModel { model, tokenizer, template, chat, eos_ids, description } = model;
    let templates = Templates { prompt: template, chat };
    Source {
        name,
        description,
        model: Box::new(model),
        text: Arc::new(Text::new(tokenizer)),
        templates,
        eos_ids,
    }
}

/// A tokenizer as the server needs it.
struct Text {
    tokenizer: LlamaTokenizer,
    max_token_bytes: usize,
}

impl Text {
    fn new(tokenizer: LlamaTokenizer) -> Self {
        // The most bytes of text that a token stands for: a normaliser may join three characters in one, so four times
        // those of the longest token.
        let ids = 0..tokenizer.vocab_size() as i64;
        let longest = ids.filter_map(|id| tokenizer.token(id)).map(|token| token.len()).max().unwrap_or(1);
        Self { tokenizer, max_token_bytes: 4 * longest }
    }
}

impl TokenText for Text {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}

impl SourceText for Text {
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
