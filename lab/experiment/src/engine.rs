//! Running the matrix: what is finished stays, what fails is told, and the rest goes on.

use std::time::Instant;

use anyhow::Result;
use results::{Cell, Kind};

use super::estimate::{duration, pace_of};
use super::matrix::{Job, order};
use super::merging::Merging;
use super::programs::Programs;
use super::setting::Setting;
use super::store::{Store, write_tables};
use super::training;
use xtask::output::{note, say};

/// Runs every cell that is not finished; how many failed. `results.jsonl` and `results.csv` are whole after every cell.
pub(crate) fn run(setting: &Setting, programs: &Programs) -> Result<usize> {
    let rounds = setting.rounds();
    let order = order(&rounds);
    let cells: Vec<Job> = rounds.into_iter().flatten().collect();
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
        let mut result = blank(setting, cell, key);
        let outcome = match setting.file.experiment {
            Kind::MergeCompare => merging.measure(cell, &mut result),
            Kind::LoraVsQlora => training::measure(cell, setting, programs, &mut result),
        };
        if let Err(error) = outcome {
            result = Cell { ok: false, error: Some(format!("{error:#}")), ..blank(setting, cell, key) };
        }
        result.wall_s = begun.elapsed().as_secs_f64();
        if let Some(error) = &result.error {
            failed += 1;
            note(&format!("  FAILED: {error}"));
        } else {
            spent.push((place, result.wall_s));
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

/// Returns a cell of which nothing is measured yet.
fn blank(setting: &Setting, job: &Job, key: &str) -> Cell {
    Cell {
        cell: job.id.clone(),
        key: key.to_owned(),
        variant: setting.variant(job).name.clone(),
        size: job.size,
        seed: job.seed,
        repeat: job.repeat,
        ok: true,
        ..Cell::default()
    }
}

/// Returns the figures of a cell that one looks for first.
fn summary(result: &Cell) -> String {
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
        let value = result.metric(name)?;
        Some(format!("{name} {value:.digits$}"))
    });
    let mut parts: Vec<String> = shown.collect();
    parts.push(format!("{:.0} s", result.wall_s));
    parts.join(", ")
}
