//! What `runs` prints.

use anyhow::Result;
use run_page::{RunRecord, comparison, sparkline};
use serde_json::json;

/// Characters of a curve.
const CURVE: usize = 24;

/// Returns the runs as a table, and the settings in which they differ as another.
pub(crate) fn table(runs: &[RunRecord]) -> String {
    let heads =
        ["run", "steps", "loss", "lowest validation loss", "tokens/s", "MiB", "seconds", "curve of the loss"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines.extend(runs.iter().map(|run| {
        let last = run.steps.last();
        let best = run.best().map(|best| format!("{:.4} at step {}", best.eval_loss, best.step));
        vec![
            run.name.clone(),
            run.step.to_string(),
            last.and_then(|last| last.loss).map_or("-".to_owned(), |loss| format!("{loss:.4}")),
            best.unwrap_or_else(|| "-".to_owned()),
            run.tokens_per_s().map_or("-".to_owned(), |rate| format!("{rate:.0}")),
            last.map_or("-".to_owned(), |last| last.memory_mib.to_string()),
            last.map_or("-".to_owned(), |last| format!("{:.1}", last.elapsed_s)),
            sparkline(&run.losses(), CURVE),
        ]
    }));
    let mut text = aligned(&lines);
    let differences = comparison(runs);
    if !differences.is_empty() {
        let names = runs.iter().map(|run| run.name.clone());
        let mut lines = vec![std::iter::once("setting".to_owned()).chain(names).collect::<Vec<_>>()];
        lines.extend(differences.into_iter().map(|difference| {
            let values = difference.values.into_iter().map(|value| value.unwrap_or_else(|| "-".to_owned()));
            std::iter::once(difference.setting).chain(values).collect()
        }));
        text.push('\n');
        text.push_str(&aligned(&lines));
    } else if runs.len() > 1 {
        text.push_str("\nthe runs have the same settings\n");
    }
    text
}

/// Returns the runs as JSON.
pub(crate) fn json(runs: &[RunRecord]) -> Result<String> {
    let differences: Vec<_> = comparison(runs)
        .into_iter()
        .map(|difference| json!({ "setting": difference.setting, "values": difference.values }))
        .collect();
    let value = json!({ "runs": runs, "settings_that_differ": differences });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

/// Puts cells in columns. Control characters of names are left out: a terminal would obey them.
fn aligned(lines: &[Vec<String>]) -> String {
    let clean = |cell: &String| cell.chars().filter(|character| !character.is_control()).collect::<String>();
    let lines: Vec<Vec<String>> = lines.iter().map(|line| line.iter().map(clean).collect()).collect();
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let row = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(row).collect()
}
