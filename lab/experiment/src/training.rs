//! Task 2: one fine-tuning run of one variant on one slice, and its answers.

use anyhow::{Context, Result};

use super::answers::{self, Source};
use super::finetuning::{self, Training};
use super::matrix::Cell;
use super::programs::Programs;
use super::results::Measured;
use super::setting::Setting;

/// Measures a cell.
///
/// # Errors
/// With what a program said.
pub(crate) fn measure(cell: &Cell, setting: &Setting, programs: &Programs) -> Result<Measured> {
    let variant = setting.variant(cell);
    let seed = cell.seed.context("a cell of this experiment has a seed")?;
    let training = Training { name: &cell.id, size: cell.size, seed, over: &variant.finetune };
    let adapter = training.run(setting, programs)?;
    let mut measured = Measured::default();
    finetuning::read_run(&adapter, &mut measured)?;
    // Answers come from the base as training saw it.
    let source = Source {
        base_model: setting.base_model.clone(),
        adapter: Some(adapter),
        quantize: variant.quantize_flags(),
    };
    answers::answer(&cell.id, &source, setting, programs, &mut measured)?;
    Ok(measured)
}
