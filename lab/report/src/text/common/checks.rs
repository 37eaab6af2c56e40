//! Truths that hold for any model, looked for in the numbers.

use super::cells::{number, text};
use crate::document::Column;
use crate::page::Page;

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// What has to be so.
    pub(crate) what: String,
    /// What was found.
    pub(crate) found: String,
    /// Whether it is so; nothing where it was not measured.
    pub(crate) holds: Option<bool>,
}

/// The checks as a table.
pub(crate) fn checks_table(page: &mut Page<'_>, checks: &[Check]) {
    let lang = page.lang;
    let columns = vec![
        Column::text(lang.pick("what has to be so", "应当成立的事实"), 9),
        Column::text(lang.pick("what was found", "实测结果"), 7),
        Column::words(lang.pick("verdict", "结论")),
    ];
    let rows = checks.iter().map(|check| {
        let verdict = match check.holds {
            Some(true) => lang.pick("holds", "成立"),
            Some(false) => lang.pick("**does not hold**", "**不成立**"),
            None => lang.pick("not measured", "未测量"),
        };
        vec![text(&check.what), number(check.found.clone()), text(verdict)]
    });
    let rows: Vec<_> = rows.collect();
    page.table(
        lang.pick(
            "Known truths. They hold for every correct run, so one that fails means a fault, not a finding.",
            "已知事实的检验。正确的实验必然满足这些事实，若不成立说明存在错误，而不是新发现。",
        ),
        &columns,
        &rows,
    );
}

/// How many fail.
pub(crate) fn failed_checks(checks: &[Check]) -> usize {
    checks.iter().filter(|check| check.holds == Some(false)).count()
}
