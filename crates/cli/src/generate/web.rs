//! The server.

use std::sync::Arc;

use alpaca_data::Templates;
use anyhow::{Result, anyhow};
use infer::{BoxError, TokenText};
use llama_finetune::{CacheRows, TextModel, cache_rows};
use llama_tokenizer::LlamaTokenizer;
use serve::{Limits, ServeConfig, Server, Source, SourceText};
use terminal::{bytes, on_first_signal, say};

use super::settings::{SourceSpec, last_part};
use super::source::{Loaded, Loader};
use crate::exit::usage;

/// A source as the server is given it.
struct Served {
    source: Loaded,
    /// Name of the source that is its base.
    adapter_off: Option<String>,
}

/// Serves until Ctrl-C. The page opens at once and tells how far loading is.
pub(crate) fn run(specs: Vec<SourceSpec>, loader: &Loader, mut config: ServeConfig) -> Result<()> {
    let open = !config.address.ip().is_loopback() && config.api_key.is_none();
    let server = Server::listen(config.clone())?;
    let (address, stop, page) = (server.local_addr(), server.stop_handle(), server.loader());
    tracing::info!("the page at http://{address} opens while the model is loaded");
    let serving = std::thread::spawn(move || server.run());
    let sources = load(specs, loader, &page)?;
    for Served { source, .. } in &sources {
        tracing::info!("source `{}`: {}", source.name, source.model.description);
    }
    fit_rows(&sources, &mut config.limits);
    page.ready(sources.into_iter().map(served).collect(), config.limits.rows).map_err(
        |error| match error {
            serve::ServeError::SameName { .. } => usage(error.to_string()),
            other => other.into(),
        },
    )?;
    on_first_signal(move || {
        stop.stop();
        say(
            "stopping: answers that are being written have a few seconds (press Ctrl-C again to end at once)",
        );
    })?;
    if open {
        tracing::warn!("every machine that reaches this one may use the model: there is no --api_key");
    }
    tracing::info!("listening on http://{address} (Ctrl-C stops)");
    serving.join().map_err(|_| anyhow!("the server's thread panicked"))??;
    Ok(())
}

/// Loads the sources; one with an adapter brings its base too, from the same weights, unless that is a source already.
fn load(specs: Vec<SourceSpec>, loader: &Loader, page: &serve::Loader) -> Result<Vec<Served>> {
    let count = specs.len();
    let given: Vec<SourceSpec> = specs.clone();
    let mut sources: Vec<Served> = Vec::new();
    for (index, spec) in specs.into_iter().enumerate() {
        page.say(&format!("{} ({} of {count})", spec.name, index + 1), index, count);
        let plain = given.iter().find(|other| other.adapter.is_none() && other.base == spec.base);
        let (source, base) = loader.load_with_base(spec.clone())?;
        let beside = base.filter(|_| plain.is_none()).map(|model| {
            let taken = |name: &str| given.iter().any(|other| other.name == name);
            let name = model.description.split(" (").next().map(last_part).unwrap_or_default();
            let name = if taken(&name) { format!("{}, adapter off", source.name) } else { name };
            Loaded { name, model }
        });
        let adapter_off = beside.as_ref().map(|base| base.name.clone());
        let adapter_off =
            adapter_off.or_else(|| plain.filter(|_| spec.adapter.is_some()).map(|plain| plain.name.clone()));
        sources.push(Served { source, adapter_off });
        // One handle on a base is enough for all its adapters.
        let is_new = |base: &Loaded| !sources.iter().any(|other| other.source.name == base.name);
        if let Some(source) = beside.filter(is_new) {
            sources.push(Served { source, adapter_off: None });
        }
    }
    Ok(sources)
}

/// Lowers `limits.rows` to what the free memory holds: the keys and values of all rows are allocated when the first request
/// comes, and must not be what ends the server.
fn fit_rows(sources: &[Served], limits: &mut Limits) {
    let models = sources.iter().map(|served| &served.source.model.model);
    let longest = limits.prompt_tokens + limits.new_tokens;
    let Some(CacheRows { rows, row_bytes, free }) = cache_rows(models, longest) else { return };
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

fn served(served: Served) -> Source {
    let Served { source: Loaded { name, model }, adapter_off } = served;
    let TextModel { model, tokenizer, template, chat, eos_ids, description } = model;
    let templates = Templates { prompt: template, chat };
    Source {
        name,
        description,
        adapter_off,
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
