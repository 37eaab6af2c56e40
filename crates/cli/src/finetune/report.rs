//! The lines that a run prints.

use std::path::Path;

use llama_finetune::{DeviceChoice, StartingPoint};
use llama_model::Llama;
use nn_core::Dtype;
use run_page::sparkline;
use terminal::{count, print};
use trainer::Summary;

use super::settings::FinetuneConfig;

/// Reports a starting point that one might not expect.
pub(crate) fn start(start: &StartingPoint, output_dir: &Path) {
    match start {
        StartingPoint::Fresh | StartingPoint::Resume { .. } => {}
        StartingPoint::NoCheckpoint => {
            tracing::info!("no checkpoint in `{}` yet: starting anew", output_dir.display());
        }
        StartingPoint::Weights { dir, of_python: false } => tracing::info!(
            "`{}` holds weights without a trainer's state: they are the start of a new run",
            dir.display()
        ),
        StartingPoint::Weights { dir, of_python: true } => tracing::warn!(
            "`{}` is of a checkpoint of transformers' Trainer, written by Python: its weights are the start of a new run at \
             step 0; its optimiser, schedule and counters are not read",
            dir.display()
        ),
    }
}

/// Reports the model and the run that are about to begin.
pub(crate) fn describe(config: &FinetuneConfig, model: &Llama, trainable: usize, records: usize) {
    let total = model.config().num_parameters();
    let devices: Vec<_> =
        model.devices().into_iter().map(|device| DeviceChoice::from(device).to_string()).collect();
    tracing::info!(
        "model: {} parameters in {} on {}; {} trainable ({:.4} %)",
        count(total),
        Dtype::name_of(model.kind()),
        devices.join(" and "),
        count(trainable as i64),
        100.0 * trainable as f64 / total as f64
    );
    let train = config.train();
    let steps = train.total_steps(records);
    tracing::info!(
        "run: {steps} steps of {} records ({} x {} accumulated), learning rate {}",
        config.batch_size,
        config.micro_batch_size,
        train.gradient_accumulation_steps,
        config.learning_rate
    );
    let context = model.config().context_len();
    if i64::try_from(config.cutoff_len).is_ok_and(|cutoff| cutoff > context) {
        tracing::warn!(
            "cutoff_len {} is beyond the model's context of {context} tokens: it has never seen positions behind that, and \
             answers no prompt that is as long",
            config.cutoff_len
        );
    }
    if u64::from(config.warmup_steps) >= steps && steps > 0 {
        tracing::warn!(
            "warmup_steps {} is not shorter than the run of {steps} steps: the learning rate never reaches {}; add \
             `--warmup_steps {}` for a tenth of the run, or train for longer with `--num_epochs`",
            config.warmup_steps,
            config.learning_rate,
            steps / 10
        );
    }
}

/// Reports a run that was stopped, and returns what it says.
pub(crate) fn stopped(step: u64, checkpoint: Option<&Path>) -> String {
    let message = match checkpoint {
        Some(path) => {
            format!("stopped after step {step}; go on with --resume_from_checkpoint {}", path.display())
        }
        None => "stopped before the first step was done; nothing was saved".to_owned(),
    };
    tracing::info!("{message}");
    message
}

/// Reports a finished run and the curve of its `losses`, and prints where its result is.
pub(crate) fn finished(config: &FinetuneConfig, summary: &Summary, losses: &[f64]) {
    if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
        tracing::info!("loss {first:.4} {} {last:.4}", sparkline(losses, 40));
    }
    let loss = summary.final_loss.map_or_else(String::new, |loss| format!(", training loss {loss:.4}"));
    let best = summary.best.map_or_else(String::new, |best| {
        format!(", best validation loss {:.4} at step {}", best.eval_loss, best.step)
    });
    tracing::info!(
        "{} steps, {} tokens in {:.1} s{loss}{best}",
        summary.steps,
        count(summary.tokens as i64),
        summary.elapsed_s
    );
    print(&format!("{}\n", config.output_dir.display()));
}
