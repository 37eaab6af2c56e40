//! Cells of tables.

use crate::document::{Column, Span, spans};
use crate::format::{grouped, or_none, spread, time_unit};
use crate::page::Page;
use crate::results::{Results, Select};
use crate::stats::summary;

/// A cell of a template's words.
pub(crate) fn text(words: impl AsRef<str>) -> Vec<Span> {
    spans(words.as_ref())
}

/// A cell of a number.
pub(crate) fn number(shown: String) -> Vec<Span> {
    vec![Span::Text(shown)]
}

/// A cell of a name.
pub(crate) fn code(name: &str) -> Vec<Span> {
    vec![Span::Code(name.to_owned())]
}

/// A peak of memory: its median and range, or the median alone where host and device each have one, since two columns with
/// ranges are more than a page is wide.
pub(crate) fn peak_mib(results: &Results, select: Select<'_>, metric: &str) -> String {
    let found = summary(&results.values(select, metric));
    let whole = |value| grouped(value, 0);
    if results.has("peak_device_mib") {
        or_none(found.map(|found| found.median), whole)
    } else {
        spread(found, whole)
    }
}

/// The unit in which a time of all variants can be read, and how many of it are a second.
pub(crate) fn unit_of(results: &Results, size: Option<u64>, metric: &str) -> (&'static str, f64) {
    let ran = results.ran();
    let values =
        ran.iter().flat_map(|variant| results.values(Select { variant: &variant.name, size }, metric));
    time_unit(values.fold(0.0, f64::max))
}

/// What readers call the variant of a name.
pub(crate) fn label_of(page: &Page<'_>, name: &str) -> String {
    let variants = &page.results.experiment.variants;
    variants
        .iter()
        .find(|variant| variant.name == name)
        .map_or(name.to_owned(), |variant| variant.label(page.lang))
}

/// What is compared with what.
pub(crate) fn variants_table(page: &mut Page<'_>) {
    let lang = page.lang;
    let columns = vec![
        Column::words(lang.pick("variant", "方案")),
        Column::words(lang.pick("name in the files", "文件中的名称")),
        Column::text(lang.pick("what it is", "说明"), 1),
    ];
    let variants = &page.results.experiment.variants;
    let rows = variants.iter().map(|variant| {
        let what = variant.what(lang);
        let what = if what.is_empty() { crate::format::NONE.to_owned() } else { what };
        vec![text(variant.label(lang)), code(&variant.name), text(what)]
    });
    let rows = rows.collect();
    page.doc.table(crate::document::Table { caption: String::new(), columns, rows });
}
