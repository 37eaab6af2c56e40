//! From settings to a directory of merged weights.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use checkpoint::Base;
use weights::AtomicDir;

use super::adapters;
use super::args::{Format, MergeArgs};
use super::files::{Flow, prepared};
use super::hf::write_text;
use super::plan::Plan;
use super::settings::{Settings, resolve};
use super::{gguf, hf, report, state_dict, verify};
use crate::exit::usage;
use crate::output::print;
use llama_finetune::set_threads;

/// Runs the program. What is wrong with flags, base or adapters shows before anything is written; what the proof finds
/// leaves nothing behind.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: MergeArgs) -> Result<()> {
    let settings = resolve(args)?;
    // One core is for the thread that writes: the others wait for each other in a spin, and would take its time.
    let spare = std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
    set_threads(settings.threads.or(Some(spare)))?;
    check_output(&settings)?;
    let started = Instant::now();
    let base = Base::open(&settings.base_model)?;
    if std::fs::canonicalize(&base.dir).ok() == std::fs::canonicalize(&settings.output_dir).ok() {
        return Err(usage(format!("output_dir `{}` is base_model", settings.output_dir.display())));
    }
    if let (Some(stored), Some(asked)) = (base.stored_quantization()?, settings.base_quantization) {
        return Err(usage(format!(
            "the base is quantised already ({}); leave out --base_precision {}, which it is added to as it is",
            stored.describe(),
            asked.describe()
        )));
    }
    let deltas = adapters::read(&settings, &base.config)?;
    let weights = base.weights()?;
    let vocab_size = match base.tokenizer() {
        Ok(tokenizer) => Some(tokenizer.vocab_size() as i64),
        Err(missing) => {
            tracing::warn!("the base has no tokenizer: {missing:#}");
            None
        }
    };
    let plan = Plan::new(&base, &weights, settings.dtype, vocab_size)?;
    announce(&settings, &plan);

    let dir = begin(&settings.output_dir)?;
    let prepare = prepared(&base.config, settings.base_quantization);
    let flow = Flow { weights: &weights, prepare: &prepare, deltas: &deltas };
    let proof = match settings.format {
        Format::Hf => {
            hf::write(dir.path(), &base, &plan, &flow, settings.quantization, settings.max_shard_bytes)?
        }
        Format::StateDict => state_dict::write(dir.path(), &base, &plan, &flow, settings.shards)?,
        Format::Gguf => gguf::write(dir.path(), &base, &plan, &flow, settings.dtype)?,
    };
    print(&report::table(&proof));
    let verification = if settings.verify {
        let written = match settings.format {
            Format::Gguf => dir.path().join(gguf::FILE),
            Format::Hf | Format::StateDict => dir.path().to_owned(),
        };
        let found = verify::verify(&base, &deltas, &written, plan.kind(), &settings)?;
        print(&found.table());
        Some(found)
    } else {
        None
    };
    let text = report::to_json(dir.path(), &settings, &plan, &proof, verification.as_ref())?;
    write_text(&dir.path().join(report::FILE), &text)?;
    if settings.output_dir.exists() {
        dir.commit_replacing()?;
    } else {
        dir.commit()?;
    }
    tracing::info!("written in {:.1} s", started.elapsed().as_secs_f64());
    print(&format!("{}\n", settings.output_dir.display()));
    Ok(())
}

/// Whether the output may take its name.
fn check_output(settings: &Settings) -> Result<()> {
    let dir = &settings.output_dir;
    if dir.exists() && !dir.is_dir() {
        return Err(usage(format!("output_dir `{}` is a file", dir.display())));
    }
    let is_empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if is_empty || settings.overwrite {
        return Ok(());
    }
    Err(usage(format!(
        "output_dir `{}` is not empty; name another directory, or replace it by --overwrite_output_dir",
        dir.display()
    )))
}

/// An empty directory that becomes the output, after what dead processes left beside it is cleared away.
fn begin(output_dir: &Path) -> Result<AtomicDir> {
    let dir = AtomicDir::create(output_dir)?;
    if let Some(parent) = std::path::absolute(output_dir)?.parent() {
        for path in AtomicDir::clean_stale(parent)? {
            tracing::info!("cleared away `{}`, which a process that died had left", path.display());
        }
    }
    Ok(dir)
}

/// Says what is about to happen.
fn announce(settings: &Settings, plan: &Plan) {
    if settings.adapters.is_empty() {
        tracing::info!("no adapter is given: the base is converted as it is");
    }
    for adapter in &settings.adapters {
        tracing::info!("adapter `{}`, weight {}", adapter.dir.display(), adapter.weight);
    }
    if plan.added_tokens > 0 {
        tracing::info!(
            "extended vocabulary size to {}: the tokenizer has {} more tokens than the base; their rows are the mean of \
             the others",
            plan.config.vocab_size,
            plan.added_tokens
        );
    }
    for name in &plan.left_out {
        let reason = if name == "lm_head.weight" {
            "the head is the embedding (tie_word_embeddings)"
        } else {
            "no LLaMA model reads it"
        };
        tracing::info!("left out: `{name}`; {reason}");
    }
}
