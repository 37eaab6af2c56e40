//! `generate`: text out of a model, as a web server, for one prompt, in a conversation, or for a file.

mod args;
mod file;
mod interactive;
mod once;
mod perplexity;
mod settings;
mod source;
mod web;

pub use args::GenerateArgs;
pub use settings::{Mode, Settings, SourceSpec, resolve};

use anyhow::Result;
use llama_finetune::PromptFile;

use crate::exit::usage;
use once::Format;
use source::Loader;

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: GenerateArgs) -> Result<()> {
    let settings = resolve(args)?;
    let loader = Loader { config: settings.compute.start()?, template: settings.template };
    let mut sources = settings.sources.into_iter();
    let first = sources.next().ok_or_else(|| usage("there is no source"))?;
    if let Mode::Web(web) = settings.mode {
        let specs = std::iter::once(first).chain(sources);
        return web::run(specs.collect(), &loader, web);
    }
    let source = loader.load(first)?;
    match settings.mode {
        Mode::Once { prompt, stream, json } => {
            let format = if json { Format::Json } else { Format::Text { stream } };
            once::run(&source, &prompt, format, settings.show_tokens, &settings.sampling)
        }
        Mode::Interactive => interactive::run(&source, settings.show_tokens, &settings.sampling),
        Mode::File { input, output, rows, ignored } => {
            let mut file = PromptFile::open(&input, &output, &ignored)?;
            file.show_tokens = settings.show_tokens;
            file::run(&source, file, &output, rows, &settings.sampling)
        }
        Mode::Perplexity { path, read } => perplexity::run(&source, &path, &read),
        Mode::Web(_) => Ok(()),
    }
}
