//! From settings to a directory of merged weights.

use std::time::Instant;

use anyhow::Result;
use checkpoint::{MergeConfig, MergePlan};
use llama_finetune::{open_merge_base, set_threads, verify_merge, write_merge_report};
use terminal::print;

use super::args::MergeArgs;
use super::report;
use super::settings::{Settings, resolve};

/// Runs the program. Errors in flags, base or adapters show before anything is written; where the proof does not hold,
/// nothing is left behind.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: MergeArgs) -> Result<()> {
    let settings = resolve(args)?;
    // One core is for the thread that writes: the others wait for each other in a spin, and would take its time.
    let spare = std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
    set_threads(settings.threads.or(Some(spare)))?;
    settings.merge.check_output(&settings.output_dir)?;
    let started = Instant::now();
    let (base, base_quantization) = open_merge_base(
        settings.base_model.as_deref(),
        &settings.adapters,
        settings.base_quantization,
        settings.merge.unknown_settings,
    )?;
    let merge = MergeConfig { base_quantization, ..settings.merge };
    let plan = base.plan_merge(&settings.adapters, merge, &settings.output_dir)?;
    announce(&settings, &plan);
    let written = plan.write()?;
    print(&report::table(written.proof()));
    let verification = if settings.verify {
        let found = verify_merge(&plan, written.path())?;
        print(&report::verification_table(&found));
        Some(found)
    } else {
        None
    };
    write_merge_report(&plan, &settings.adapters, &written, verification.as_ref())?;
    written.commit()?;
    tracing::info!("written in {:.1} s", started.elapsed().as_secs_f64());
    print(&format!("{}\n", settings.output_dir.display()));
    Ok(())
}

/// Announces the merge.
fn announce(settings: &Settings, plan: &MergePlan<'_>) {
    if settings.adapters.is_empty() {
        tracing::info!("no adapter is given: the base is converted as it is");
    }
    for adapter in &settings.adapters {
        tracing::info!("adapter `{}`, weight {}", adapter.dir.display(), adapter.weight);
    }
    if plan.added_tokens() > 0 {
        tracing::info!(
            "extended vocabulary size to {}: the tokenizer has {} more tokens than the base; their rows are the mean of \
             the others",
            plan.config().vocab_size,
            plan.added_tokens()
        );
    }
    for name in plan.left_out() {
        let reason = if name == "lm_head.weight" {
            "the head is the embedding (tie_word_embeddings)"
        } else {
            "no LLaMA model reads it"
        };
        tracing::info!("left out: `{name}`; {reason}");
    }
}
