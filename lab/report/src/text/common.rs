//! Facts and tables of both reports.

use minijinja::{Value, context};
use serde::Serialize;

use super::samples::Samples;
use crate::document::{Column, Row, spans};
use crate::format::{NONE, grouped, or_none, spread, time_unit};
use crate::page::{Page, code, count, number};
use crate::plots::{Chart, Content, Group};
use crate::select::{Results, Select};
use crate::stats::summary;

/// Letters of an error message that a table has room for.
const ERROR_LETTERS: usize = 600;

/// Returns what templates of both reports say.
pub(crate) fn facts(page: &Page<'_>, checks: &[Check]) -> Value {
    let (results, experiment) = (page.results, &page.results.experiment);
    context! {
        reference => page.label(&experiment.reference),
        // Records of the largest slice.
        size => results.sizes().last().copied().map(count),
        seeds => experiment.seeds.len(),
        repeats => experiment.repeats,
        failed => results.cells.iter().filter(|cell| !cell.ok).count(),
        all => results.cells.len(),
        pictures => super::pictures::any(results),
        samples => !Samples::of(results, page.lang).is_empty(),
        commands => !experiment.commands.is_empty(),
        run_file => !experiment.run_file.trim().is_empty(),
        changes => experiment.has_changes(),
        failing => checks.iter().filter(|check| check.holds == Some(false)).count(),
        checks => checks.len(),
    }
}

/// A truth that holds for every correct run, looked for in the numbers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) found: String,
    /// Nothing where it was not measured.
    pub(crate) holds: Option<bool>,
}

/// Adds one of the blocks of both reports; false where there is none of this name.
pub(crate) fn insert(page: &mut Page<'_>, checks: &[Check], name: &str, caption: &str) -> bool {
    let (lang, experiment) = (page.lang, &page.results.experiment);
    match name {
        "variants" => variants(page),
        "settings" => super::settings::table(page),
        "checks" => checks_table(page, checks),
        "failed" => failed(page, caption),
        "samples" => Samples::of(page.results, lang).write(page),
        "commands" => page.doc.code("sh", experiment.commands.join("\n"), ""),
        "run-file" => {
            let used = experiment.run_file_used(|name| page.results.variant(name).is_some());
            page.doc.code("toml", used, "");
        }
        "pictures" => super::pictures::pictures(page),
        "environment" => environment(page),
        "files" => {
            let files =
                experiment.environment.binary_sha256.iter().chain(&experiment.environment.data_sha256);
            let heads =
                [Column::text(lang.pick("program or file", "程序或文件"), 1), Column::text("SHA-256", 3)];
            page.pairs(heads, files.map(|(name, hash)| [code(name), code(hash)]));
        }
        _ => return false,
    }
    true
}

/// Adds the table of variants.
fn variants(page: &mut Page<'_>) {
    let lang = page.lang;
    let columns = vec![
        Column::words(lang.pick("variant", "方案")),
        Column::words(lang.pick("name in the files", "文件中的名称")),
        Column::text(lang.pick("what it is", "说明"), 1),
    ];
    let rows = page.results.experiment.variants.iter().map(|variant| {
        let what = Some(lang.what(variant)).filter(|what| !what.is_empty());
        vec![
            spans(&lang.label(variant)),
            code(&variant.name),
            spans(&what.unwrap_or_else(|| NONE.to_owned())),
        ]
    });
    let rows = rows.collect();
    page.doc.table(crate::document::Table { caption: String::new(), columns, rows });
}

fn checks_table(page: &mut Page<'_>, checks: &[Check]) {
    let lang = page.lang;
    let columns = [
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
        vec![spans(&check.what), number(check.found.clone()), spans(verdict)]
    });
    let caption = lang.pick(
        "Known truths. They hold for every correct run, so one that fails means a fault, not a finding.",
        "已知事实的检验。正确的实验必然满足这些事实，若不成立说明存在错误，而不是新发现。",
    );
    page.table(caption, &columns, &rows.collect::<Vec<Row>>());
}

fn failed(page: &mut Page<'_>, caption: &str) {
    let lang = page.lang;
    let columns = [
        Column::words(lang.pick("run", "运行")),
        Column::words(lang.pick("variant", "方案")),
        Column::text(lang.pick("error", "错误信息"), 1),
    ];
    let rows = page.results.cells.iter().filter(|cell| !cell.ok).map(|cell| {
        let error = cell.error.as_deref().unwrap_or(lang.pick("no message", "无错误信息")).trim();
        let mut short: String = error.chars().take(ERROR_LETTERS).collect();
        if short.len() < error.len() {
            short.push('…');
        }
        vec![code(&cell.cell), number(page.label(&cell.variant)), number(short)]
    });
    let rows: Vec<Row> = rows.collect();
    page.table(caption, &columns, &rows);
}

/// Adds the table of machine, versions and seeds.
fn environment(page: &mut Page<'_>) {
    let (lang, experiment) = (page.lang, &page.results.experiment);
    let environment = &experiment.environment;
    let seeds: Vec<String> = experiment.seeds.iter().map(u64::to_string).collect();
    let memory = |gib: f64| if gib.fract() == 0.0 { format!("{gib:?}") } else { format!("{gib:.1}") };
    let lines = [
        (lang.pick("processor", "处理器"), environment.cpu.clone()),
        (lang.pick("cores used", "使用核数"), environment.cores.map(|cores| cores.to_string())),
        (lang.pick("memory, GiB", "内存（GiB）"), environment.memory_gib.map(memory)),
        ("GPU", Some(environment.gpu.clone().unwrap_or_else(|| lang.pick("none", "无").to_owned()))),
        (lang.pick("operating system", "操作系统"), environment.os.clone()),
        ("rustc", environment.rustc.clone()),
        ("libtorch", environment.libtorch.clone()),
        (lang.pick("commit", "代码提交"), lang.commit(experiment, usize::MAX)),
        (lang.pick("date", "日期"), environment.date.clone()),
        (lang.pick("seeds", "随机种子"), (!seeds.is_empty()).then(|| seeds.join(", "))),
        (lang.pick("repeats", "重复次数"), (experiment.repeats > 0).then(|| experiment.repeats.to_string())),
    ];
    let heads = [Column::text(lang.pick("what", "项目"), 1), Column::text(lang.pick("value", "值"), 3)];
    page.pairs(heads, lines.into_iter().filter_map(|(name, value)| Some([spans(name), number(value?)])));
}

/// Shows the median and the range of a peak of memory; the median alone where host and device each have one, since two
/// columns with ranges are more than a page is wide.
pub(crate) fn peak_mib(results: &Results, select: Select<'_>, metric: &str) -> String {
    let found = summary(&results.values(select, metric));
    let whole = |value| grouped(value, 0);
    if results.has("peak_device_mib") {
        or_none(found.map(|found| found.median), whole)
    } else {
        spread(found, whole)
    }
}

/// Returns a unit for a time of all variants, and how many of it are a second.
pub(crate) fn unit_of(results: &Results, size: Option<usize>, metric: &str) -> (&'static str, f64) {
    let ran = results.ran();
    let values =
        ran.iter().flat_map(|variant| results.values(Select { variant: &variant.name, size }, metric));
    time_unit(values.fold(0.0, f64::max))
}

/// Returns a bar for each variant that has the number; each measurement is multiplied by `factor`.
pub(crate) fn bars(page: &Page<'_>, stem: &str, metric: &str, factor: f64, label: &str) -> Chart {
    let groups = page.results.experiment.variants.iter().enumerate().filter_map(|(style, variant)| {
        let values = page.results.values(Select::all(&variant.name), metric);
        let values: Vec<f64> = values.into_iter().map(|value| value * factor).collect();
        (!values.is_empty()).then(|| Group { label: page.chart_lang.label(variant), style, values })
    });
    let content = Content::Bars { label: label.to_owned(), groups: groups.collect() };
    Chart { stem: stem.to_owned(), content }
}
