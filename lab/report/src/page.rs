//! A document while it is written: numbers its tables and figures, and keeps the charts.

use std::path::Path;

use crate::document::{Block, Column, Document, Figure, Row, Table};
use crate::excerpt::{Item, excerpt};
use crate::lang::{Lang, say};
use crate::plots::Chart;
use crate::results::Results;

/// What templates write to.
#[derive(Debug)]
pub struct Page<'a> {
    /// What they write about.
    pub results: &'a Results,
    /// The language of the text.
    pub lang: Lang,
    /// The language of the plots: English where there is no font for another.
    pub chart_lang: Lang,
    /// The workspace, for excerpts.
    pub source: Option<&'a Path>,
    /// What is written so far.
    pub doc: Document,
    /// The plots of its figures.
    pub charts: Vec<Chart>,
    tables: usize,
}

impl<'a> Page<'a> {
    /// An empty page.
    pub fn new(results: &'a Results, lang: Lang, chart_lang: Lang, source: Option<&'a Path>) -> Self {
        let (doc, charts) = (Document::default(), Vec::new());
        Self { results, lang, chart_lang, source, doc, charts, tables: 0 }
    }

    /// Adds a numbered table, without the columns in which no row has anything; nothing of one without rows.
    pub fn table(&mut self, caption: &str, columns: &[Column], rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        let empty = |column: usize| {
            rows.iter()
                .all(|row| matches!(row[column].as_slice(), [span] if span.text() == crate::format::NONE))
        };
        let kept: Vec<usize> = (0..columns.len()).filter(|&column| !empty(column)).collect();
        if !kept.iter().any(|&column| columns[column].align == crate::document::Align::Right)
            && kept.len() < columns.len()
        {
            return; // Nothing of it was measured.
        }
        let rows = rows.iter().map(|row| kept.iter().map(|&column| row[column].clone()).collect()).collect();
        let columns = kept.iter().map(|&column| columns[column].clone()).collect();
        self.tables += 1;
        let number = self.tables;
        let caption = say!(self.lang, "Table {number}. {caption}", "表 {number}　{caption}");
        self.doc.table(Table { caption, columns, rows });
    }

    /// Adds a numbered figure; nothing of a chart without data.
    pub fn figure(&mut self, chart: Chart, caption: &str) {
        if chart.is_empty() {
            return;
        }
        let number = self.charts.len() + 1;
        let alt = caption.to_owned();
        let caption = say!(self.lang, "Figure {number}. {caption}", "图 {number}　{caption}");
        self.doc.blocks.push(Block::Figure(Figure { stem: chart.stem.clone(), caption, alt }));
        self.charts.push(chart);
    }

    /// Adds an item of the workspace's sources, or says where it is.
    pub fn excerpt(&mut self, item: Item) {
        let file = item.file;
        let name = item.start.trim_end_matches(['(', '<', ' ', ':']);
        let found = self.source.and_then(|root| excerpt(root, item));
        let Some(found) = found else {
            self.doc.paragraph(say!(
                self.lang,
                "The source was not at hand when this report was made: see `{name}` in `{file}`.",
                "生成本报告时未找到源代码，请参阅 `{file}` 中的 `{name}`。",
            ));
            return;
        };
        let line = found.line;
        let caption = say!(self.lang, "{file}, from line {line}", "{file}，第 {line} 行起");
        self.doc.code("rust", found.text, caption);
    }
}
