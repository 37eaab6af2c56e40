//! Where it ran.

use super::cells::{code, number, text};
use crate::document::{Column, Row, Table};
use crate::page::Page;
use crate::results::shown;

/// Machine, versions and hashes.
pub(crate) fn environment(page: &mut Page<'_>) {
    let lang = page.lang;
    let experiment = &page.results.experiment;
    let environment = &experiment.environment;
    let lines = [
        (lang.pick("processor", "处理器"), shown(&environment.cpu)),
        (lang.pick("cores used", "使用核数"), shown(&environment.cores)),
        (lang.pick("memory, GiB", "内存（GiB）"), shown(&environment.memory_gib)),
        ("GPU", Some(shown(&environment.gpu).unwrap_or_else(|| lang.pick("none", "无").to_owned()))),
        (lang.pick("operating system", "操作系统"), shown(&environment.os)),
        ("rustc", shown(&environment.rustc)),
        ("libtorch", shown(&environment.libtorch)),
        (lang.pick("commit", "代码提交"), experiment.commit(lang, usize::MAX)),
        (lang.pick("date", "日期"), shown(&environment.date)),
        (lang.pick("seeds", "随机种子"), joined(&experiment.seeds)),
        (lang.pick("repeats", "重复次数"), (experiment.repeats > 0).then(|| experiment.repeats.to_string())),
    ];
    page.doc.heading(1, lang.pick("Environment", "实验环境"));
    let rows: Vec<Row> =
        lines.into_iter().filter_map(|(name, value)| Some(vec![text(name), number(value?)])).collect();
    let columns = vec![Column::text(lang.pick("what", "项目"), 1), Column::text(lang.pick("value", "值"), 3)];
    page.doc.table(Table { caption: String::new(), columns, rows });
    let files = environment.binary_sha256.iter().chain(&environment.data_sha256);
    let rows: Vec<Row> =
        files.filter_map(|(name, hash)| Some(vec![code(name), code(&shown(hash)?)])).collect();
    let columns =
        vec![Column::text(lang.pick("program or file", "程序或文件"), 1), Column::text("SHA-256", 3)];
    page.doc.table(Table { caption: String::new(), columns, rows });
}

fn joined(numbers: &[u64]) -> Option<String> {
    let shown: Vec<String> = numbers.iter().map(u64::to_string).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}
