//! The server.

use anyhow::Result;
use serve::{ServeConfig, Server, Source};

use super::source::Loaded;
use crate::exit::usage;

/// Serves until Ctrl-C.
pub(crate) fn run(sources: Vec<Loaded>, config: ServeConfig) -> Result<()> {
    for source in &sources {
        tracing::info!("source `{}`: {}", source.name, source.description);
    }
    let open = !config.address.ip().is_loopback() && config.api_key.is_none();
    let sources = sources.into_iter().map(served).collect();
    let server = Server::bind(sources, config).map_err(|error| match error {
        serve::ServeError::SameName { .. } => usage(error.to_string()),
        other => other.into(),
    })?;
    let stop = server.stop_handle();
    let mut asked = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked, true) {
            #[expect(clippy::exit, reason = "the user insists")]
            std::process::exit(130);
        }
        eprintln!(
            "stopping: answers that are being written have a few seconds (press Ctrl-C again to end at once)"
        );
        stop.stop();
    })?;
    if open {
        tracing::warn!("every machine that reaches this one may use the model: there is no --api_key");
    }
    tracing::info!("listening on http://{} (Ctrl-C stops)", server.local_addr());
    Ok(server.run()?)
}

fn served(source: Loaded) -> Source {
    let Loaded { name, description, model, text, eos_ids, chat } = source;
    Source { name, description, model: Box::new(model), text, chat, eos_ids }
}
