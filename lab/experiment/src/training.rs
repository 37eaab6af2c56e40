//! Task 2: one fine-tuning run of one variant on one slice, and its answers.

use anyhow::{Context, Result};
use results::Cell;

use super::answers::{self, Source};
use super::finetuning::{self, Training};
use super::matrix::Job;
use super::programs::Programs;
use super::setting::Setting;

/// Measures a cell.
pub(crate) fn measure(job: &Job, setting: &Setting, programs: &Programs, cell: &mut Cell) -> Result<()> {
    let variant = setting.variant(job);
    let seed = job.seed.context("a cell of this experiment has a seed")?;
    let training = Training { name: &job.id, size: job.size, seed, over: &variant.finetune };
    let adapter = training.run(setting, programs)?;
    finetuning::read_run(&adapter, cell)?;
    // Answers come from the base as training saw it.
    let source = Source {
        base_model: setting.base_model.clone(),
        adapter: Some(adapter),
        quantize: variant.quantize_flags(),
    };
    answers::answer(&source, setting, programs, cell)
}
