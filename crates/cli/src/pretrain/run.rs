//! The program `pretrain`.

use std::path::Path;

use alpaca_data::pack_documents;
use anyhow::{Result, bail};
use checkpoint::copy_tokenizer_files;
use llama_finetune::{FullModel, fresh_config, set_threads, write_random_model};
use llama_model::LlamaConfig;
use llama_tokenizer::LlamaTokenizer;
use tch::{Device, Kind};
use terminal::print;
use trainer::{Outcome, ProgressReporter, StopFlag, Trainer, find_last_checkpoint};
use weights::DirLock;

use super::args::PretrainArgs;
use super::settings::{PretrainConfig, resolve};
use crate::exit::usage;
use crate::files::MAX_TEXT_BYTES;
use crate::messages::tells_progress;
use crate::stop::stop_on_signals;

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the arguments end with the program")]
pub fn run(args: PretrainArgs) -> Result<()> {
    let config = resolve(&args)?;
    set_threads(args.threads)?;
    let device = args.device.start()?;
    let kind = config.dtype.kind().unwrap_or(Kind::Float);
    let tokenizer = args.tokenizer.as_deref().map(LlamaTokenizer::open).transpose()?;
    let shape = fresh_config(&config.preset, tokenizer.as_ref())?;
    if args.init_only {
        write_random_model(&shape, config.train.seed, kind, &args.output_dir)?;
    } else {
        let (Some(tokenizer), Some(corpus)) = (&tokenizer, &args.corpus) else {
            return Err(usage(
                "pre-training needs --corpus and --tokenizer (or --init_only for random weights)",
            ));
        };
        let lock = DirLock::acquire(&args.output_dir)?;
        let model = train(&args, &config, &shape, tokenizer, corpus, device, &lock)?;
        model.export(&args.output_dir, kind)?;
    }
    if let Some(path) = &args.tokenizer {
        copy_tokenizer_files(path, &args.output_dir)?;
    }
    print(&format!("{}\n", args.output_dir.display()));
    Ok(())
}

/// Trains a model of random weights to the end.
fn train(
    args: &PretrainArgs,
    config: &PretrainConfig,
    shape: &LlamaConfig,
    tokenizer: &LlamaTokenizer,
    corpus: &Path,
    device: Device,
    lock: &DirLock,
) -> Result<FullModel> {
    let text = weights::read_text(corpus, MAX_TEXT_BYTES)
        .map_err(|error| usage(format!("cannot read corpus `{}`: {error}", corpus.display())))?;
    let documents: Vec<String> = text.lines().map(|line| line.replace("\\n", "\n")).collect();
    let examples = pack_documents(&documents, tokenizer, config.seq_len)?;
    tracing::info!(
        "corpus: {} documents, {} sequences of {} tokens",
        documents.len(),
        examples.len(),
        config.seq_len
    );
    let model = FullModel::random(shape, config.train.seed, device)?;
    let resume = if args.resume { find_last_checkpoint(&args.output_dir)? } else { None };
    let stop = StopFlag::new();
    stop_on_signals(&stop)?;
    let mut reporter = ProgressReporter::new().quiet(!tells_progress());
    let mut trainer = Trainer::new(&model, &examples, config.train.clone())
        .reporter(&mut reporter)
        .lock(lock)
        .stop_flag(stop);
    if let Some(checkpoint) = resume {
        trainer = trainer.resume_from(checkpoint);
    }
    match trainer.run(&args.output_dir)? {
        Outcome::Finished(_) => Ok(model),
        Outcome::Stopped { step, .. } => bail!("stopped after step {step}; go on with --resume"),
    }
}
