//! Running the matrix: what is finished stays, what fails is told, and the rest goes on.

use std::time::Instant;

use anyhow::Result;

use super::estimate::{duration, pace_of};
use super::matrix::{Cell, order, rounds};
use super::merging::Merging;
use super::programs::Programs;
use super::results::{CellResult, Measured, Store, write_tables};
use super::run_file::Kind;
use super::setting::Setting;
use super::training;
use xtask::output::{note, say};

/// Runs every cell that is not finished; how many failed. `results.jsonl` and `results.csv` are whole after every cell.
///
/// # Errors
/// When the disk refuses; not when a cell fails.
pub(crate) fn run(setting: &Setting, programs: &Programs) -> Result<usize> {
    let rounds = rounds(
        setting.file.experiment,
        &setting.file.variants,
        &setting.sizes,
        &setting.seeds,
        setting.repeats,
    );
    let order = order(&rounds);
    let cells: Vec<Cell> = rounds.into_iter().flatten().collect();
    let keys = cells.iter().map(|cell| setting.key(cell)).collect::<Result<Vec<_>>>()?;
    let store = Store::of(&setting.out);
    let mut lines: Vec<Option<String>> =
        cells.iter().zip(&keys).map(|(cell, key)| store.finished(&cell.id, key)).collect();
    let kept = lines.iter().flatten().count();
    note(&format!("{} cells, {kept} of them finished already", cells.len()));
    write(setting, &lines)?;
    let mut merging = Merging::new(setting, programs);
    let mut spent = Vec::new();
    let mut failed = 0;
    let waiting: Vec<usize> = order.into_iter().filter(|&place| lines[place].is_none()).collect();
    for (done, &place) in waiting.iter().enumerate() {
        let (cell, key) = (&cells[place], &keys[place]);
        let left = pace_of(&spent, &waiting[done..], &cells, setting);
        note(&format!("[{}/{}] {}  ({} left)", kept + done + 1, cells.len(), cell.id, duration(left)));
        if setting.merges() {
            merging.prepare(cell);
        }
        let begun = Instant::now();
        let outcome = match setting.file.experiment {
            Kind::MergeCompare => merging.measure(cell),
            Kind::LoraVsQlora => training::measure(cell, setting, programs),
        };
        let wall_s = begun.elapsed().as_secs_f64();
        let result = result_of(setting, cell, key, wall_s, outcome);
        if let Some(error) = &result.error {
            failed += 1;
            note(&format!("  FAILED: {error}"));
        } else {
            spent.push((place, wall_s));
            note(&format!("  {}", summary(&result)));
        }
        lines[place] = Some(store.keep(&result)?);
        write(setting, &lines)?;
    }
    say(&format!("{} cells: {} finished, {failed} failed", cells.len(), cells.len() - failed));
    Ok(failed)
}

fn write(setting: &Setting, lines: &[Option<String>]) -> Result<()> {
    write_tables(&setting.out, &lines.iter().flatten().cloned().collect::<Vec<_>>())
}

fn result_of(
    setting: &Setting,
    cell: &Cell,
    key: &str,
    wall_s: f64,
    outcome: Result<Measured>,
) -> CellResult {
    let (measured, error) = match outcome {
        Ok(measured) => (measured, None),
        Err(error) => (Measured::default(), Some(format!("{error:#}"))),
    };
    CellResult {
        cell: cell.id.clone(),
        key: key.to_owned(),
        variant: setting.variant(cell).name.clone(),
        size: cell.size,
        seed: cell.seed,
        repeat: cell.repeat,
        ok: error.is_none(),
        error,
        wall_s,
        measured,
    }
}

/// The figures of a cell that one looks for first.
fn summary(result: &CellResult) -> String {
    const SHOWN: [(&str, usize); 9] = [
        ("exact_match", 3),
        ("rouge_l", 3),
        ("perplexity", 3),
        ("token_agreement", 4),
        ("max_logit_diff", 6),
        ("load_s", 3),
        ("decode_tokens_per_s", 1),
        ("train_s", 1),
        ("val_loss_final", 4),
    ];
    let shown = SHOWN.iter().filter_map(|&(name, digits)| {
        let value = result.measured.metrics.get(name)?;
        Some(format!("{name} {value:.digits$}"))
    });
    let mut parts: Vec<String> = shown.collect();
    parts.push(format!("{:.0} s", result.wall_s));
    parts.join(", ")
}
