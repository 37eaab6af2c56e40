//! The cells that failed.

use super::cells::{code, label_of, number};
use crate::document::{Column, Row, Tone};
use crate::lang::say;
use crate::page::Page;

/// How much of an error message a table has room for.
const ERROR_LETTERS: usize = 600;

/// Lists failed cells; nothing where there are none.
pub(crate) fn failed(page: &mut Page<'_>) {
    let lang = page.lang;
    let failed: Vec<_> = page.results.failed().cloned().collect();
    if failed.is_empty() {
        return;
    }
    let (count, all) = (failed.len(), page.results.cells.len());
    page.doc.heading(2, lang.pick("Runs that failed", "失败的运行"));
    page.doc.callout(
        Tone::Note,
        say!(
            lang,
            "{count} of {all} runs failed. They are in no table above and no sentence below.",
            "共 {all} 次运行，其中 {count} 次失败。失败的运行不计入任何表格与结论。",
        ),
    );
    let columns = vec![
        Column::words(lang.pick("run", "运行")),
        Column::words(lang.pick("variant", "方案")),
        Column::text(lang.pick("error", "错误信息"), 1),
    ];
    let rows: Vec<Row> = failed
        .iter()
        .map(|cell| {
            let error = cell.error.as_deref().unwrap_or(lang.pick("no message", "无错误信息"));
            let mut short: String = error.trim().chars().take(ERROR_LETTERS).collect();
            if short.len() < error.trim().len() {
                short.push('…');
            }
            vec![code(&cell.cell), number(label_of(page, &cell.variant)), number(short)]
        })
        .collect();
    page.table(lang.pick("Failed runs and why.", "失败的运行及原因。"), &columns, &rows);
}
