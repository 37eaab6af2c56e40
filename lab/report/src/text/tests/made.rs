//! Results that are edited, and the text that comes of them.

use std::path::Path;

use serde_json::{Value, json};

use xtask::cover::Cover;

use super::synthetic::write;
use crate::lang::Lang;
use crate::select::{Results, load};

/// An experiment and its cells, before they are written.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) experiment: Value,
    pub(crate) cells: Vec<Value>,
}

impl Made {
    pub(crate) fn new((experiment, cells): (Value, Vec<Value>)) -> Self {
        Self { experiment, cells }
    }

    /// Changes a number of every cell of a variant (of all, for "").
    #[must_use]
    pub(crate) fn edit(
        mut self,
        variant: &str,
        metric: &str,
        change: impl Fn(&Value, usize) -> Option<f64>,
    ) -> Self {
        let of_variant = |cell: &&mut Value| variant.is_empty() || cell["variant"] == variant;
        for (index, cell) in self.cells.iter_mut().filter(of_variant).enumerate() {
            let value = change(cell, index);
            let metrics = cell["metrics"].as_object_mut().unwrap();
            match value {
                Some(value) => metrics.insert(metric.to_owned(), json!(value)),
                None => metrics.remove(metric),
            };
        }
        self
    }

    /// Takes a number away from every cell of a variant.
    #[must_use]
    pub(crate) fn without(self, variant: &str, metric: &str) -> Self {
        self.edit(variant, metric, |_, _| None)
    }

    /// Gives a variant one number everywhere.
    #[must_use]
    pub(crate) fn with(self, variant: &str, metric: &str, value: f64) -> Self {
        self.edit(variant, metric, |_, _| Some(value))
    }

    /// Takes away the answers of a variant.
    #[must_use]
    pub(crate) fn without_texts(mut self, variant: &str) -> Self {
        self.cells
            .iter_mut()
            .filter(|cell| cell["variant"] == variant)
            .for_each(|cell| cell["texts"] = json!([]));
        self
    }

    /// Gives a variant the answers that another gave.
    #[must_use]
    pub(crate) fn with_texts_of(mut self, variant: &str, other: &str) -> Self {
        let texts = self.cells.iter().find(|cell| cell["variant"] == other).unwrap()["texts"].clone();
        self.cells
            .iter_mut()
            .filter(|cell| cell["variant"] == variant)
            .for_each(|cell| cell["texts"] = texts.clone());
        self
    }

    /// Keeps some cells.
    #[must_use]
    pub(crate) fn keep(mut self, which: impl Fn(&Value) -> bool) -> Self {
        self.cells.retain(which);
        self
    }

    pub(crate) fn write(&self, dir: &Path) {
        write(dir, &self.experiment, &self.cells);
    }

    /// The report's text, and what is written on its plots.
    pub(crate) fn text(&self, lang: Lang) -> String {
        self.text_from(lang, Some(root()))
    }

    pub(crate) fn text_from(&self, lang: Lang, source: Option<&Path>) -> String {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        text(&[load(dir.path()).unwrap()], lang, source, &Cover::default())
    }
}

/// The text of a report of one experiment or two, and what is written on its plots.
pub(crate) fn text(results: &[Results], lang: Lang, source: Option<&Path>, cover: &Cover) -> String {
    let page = crate::text::compose(results, lang, lang, source, cover).unwrap();
    format!("{}\n{:?}", without_escapes(&crate::write::markdown(&page.doc, lang)), page.charts)
}

/// The workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn without_escapes(text: &str) -> String {
    let text = text
        .replace("<strong>", "**")
        .replace("</strong>", "**")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\\' && letters.peek().is_some_and(char::is_ascii_punctuation) {
            continue;
        }
        out.push(letter);
    }
    out
}
