//! The server.

use alpaca_data::Templates;
use anyhow::Result;
use llama_model::Llama;
use nn_core::CausalLm;
use serve::{Limits, ServeConfig, Server, Source};

use super::source::Loaded;
use crate::exit::usage;
use crate::output::say;
use crate::signals::on_first_signal;
use checkpoint::free_host_bytes;
use llama_finetune::free_gpu_bytes;

/// Part of the free memory that keys and values may take.
const CACHE_PART: f64 = 0.6;

/// Serves until Ctrl-C.
pub(crate) fn run(sources: Vec<Loaded>, mut config: ServeConfig) -> Result<()> {
    for source in &sources {
        tracing::info!("source `{}`: {}", source.name, source.description);
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
    let row_bytes: f64 = sources.iter().map(|source| row_bytes(&source.model, limits) as f64).sum();
    let cuda = sources.iter().any(|source| source.model.device().is_cuda());
    let free = if cuda { free_gpu_bytes() } else { free_host_bytes().map(|bytes| bytes as f64) };
    let Some(free) = free else { return };
    let rows = rows_that_fit(row_bytes, free).min(limits.rows);
    if rows < limits.rows {
        let gib = |bytes: f64| bytes / f64::from(1 << 30);
        tracing::warn!(
            "max_rows is {rows}, not {}: {:.1} GiB are free, and the keys and values of a row take {:.2} GiB \
             (lower max_prompt_tokens or max_answer_tokens for more rows)",
            limits.rows,
            gib(free),
            gib(row_bytes)
        );
        limits.rows = rows;
    }
}

fn rows_that_fit(row_bytes: f64, free: f64) -> usize {
    (CACHE_PART * free / row_bytes.max(1.0)).max(1.0) as usize
}

/// Bytes of the keys and values of one row at its longest.
fn row_bytes(model: &Llama, limits: &Limits) -> usize {
    let config = model.config();
    let capacity = model.max_len().min(limits.prompt_tokens + limits.new_tokens);
    let token = 2 * config.num_hidden_layers * (config.num_key_value_heads * config.head_dim) as usize;
    token * capacity * model.kind().elt_size_in_bytes()
}

fn served(source: Loaded) -> Source {
    let Loaded { name, description, model, text, eos_ids, chat } = source;
    let templates = Templates { prompt: text.template.clone(), chat };
    Source { name, description, model: Box::new(model), text, templates, eos_ids }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_rows_as_memory_holds_and_never_none() {
        let gib = f64::from(1 << 30);
        assert_eq!(rows_that_fit(gib, 10.0 * gib), 6);
        assert_eq!(rows_that_fit(100.0 * gib, gib), 1);
    }
}
