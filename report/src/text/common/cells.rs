//! Cells of tables.

use crate::document::{Column, Span, spans};
use crate::page::Page;

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
