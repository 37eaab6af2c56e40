//! A document while it is written: runs a template, numbers tables and figures, keeps the charts.
//!
//! A template is rendered over a struct of facts and then read in blocks. Paragraphs are separated by empty lines:
//!
//! | a block begins with | and becomes |
//! |---|---|
//! | `# `, `## ` | a heading |
//! | `- ` | an item of a list; items that follow each other are one list |
//! | `> good `, `> note `, `> bad ` | a call-out |
//! | `$ ` | a formula |
//! | ```` ``` ```` | code, up to the next such line; its language and caption stand behind the first |
//! | `@excerpt FILE: BEGIN` or `@excerpt FILE: AROUND >> BEGIN` | an item of the workspace's sources |
//! | `@NAME CAPTION` | what [`Source::insert`] adds under this name: tables, figures |
//! | anything else | a paragraph |
//!
//! Behind `‖` stands the same in Chinese, in one line; a block without `‖` is the same in both languages.

use std::path::Path;

use anyhow::{Context, Result, bail};
use minijinja::Environment;
use serde::Serialize;

use crate::document::{Align, Block, Column, Document, Figure, Row, Span, Table, Tone, spans};
use crate::excerpt::excerpt;
use crate::format::NONE;
use crate::lang::{Lang, plain, say};
use crate::plots::Chart;
use crate::select::{Results, Select};

/// Tables and charts that a template names.
pub(crate) trait Source {
    /// Adds the block of a name, if its numbers were measured. False where there is no such block.
    fn insert(&self, page: &mut Page<'_>, name: &str, caption: &str) -> bool;
}

/// A document, and what it is about.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) results: &'a Results,
    pub(crate) lang: Lang,
    /// Language of the plots: English where there is no font for another.
    pub(crate) chart_lang: Lang,
    /// A checkout, for excerpts.
    pub(crate) source: Option<&'a Path>,
    pub(crate) doc: Document,
    pub(crate) charts: Vec<Chart>,
    /// How many levels its headings are below those of a report of one experiment.
    pub(crate) depth: u8,
    /// What the names of its plots begin with.
    pub(crate) prefix: &'static str,
    tables: usize,
}

/// A column of numbers of a variant, or of a variant and a size.
pub(crate) type Measured<'a> = (Column, &'a dyn Fn(Select<'_>) -> String);

impl<'a> Page<'a> {
    pub(crate) fn new(results: &'a Results, lang: Lang, chart_lang: Lang, source: Option<&'a Path>) -> Self {
        let (doc, charts) = (Document::default(), Vec::new());
        Self { results, lang, chart_lang, source, doc, charts, depth: 0, prefix: "", tables: 0 }
    }

    /// Writes a template.
    pub(crate) fn write(
        &mut self,
        template: &str,
        facts: &impl Serialize,
        source: &impl Source,
    ) -> Result<()> {
        let lang = self.lang;
        let mut jinja = Environment::new();
        jinja.set_trim_blocks(true);
        jinja.set_lstrip_blocks(true);
        jinja.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        jinja.add_filter("list", move |items: Vec<String>| lang.list(&items));
        jinja.add_filter("names", move |labels: Vec<String>| lang.names(&labels));
        jinja.add_function("t", move |en: String, zh: String| if lang == Lang::En { en } else { zh });
        jinja.add_template("runs.md.j2", include_str!("text/runs.md.j2"))?;
        jinja.add_template("reproduce.md.j2", include_str!("text/reproduce.md.j2"))?;
        let text = jinja.render_str(template, facts)?.replace(" %", "\u{a0}%");
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(head) = line.strip_prefix("```") {
                let code: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
                let (language, caption) = head.split_once(' ').unwrap_or((head, ""));
                // The languages that writers have colours for.
                let language = if language == "python" { "python" } else { "" };
                self.doc.code(language, code.join("\n"), self.translated(caption));
            } else if !line.is_empty() {
                let mut block = line.to_owned();
                while let Some(next) = lines.next_if(|next| !next.is_empty() && !begins_block(next)) {
                    block = format!("{block} {next}");
                }
                self.block(&block, source)?;
            }
        }
        Ok(())
    }

    /// Returns the text of the page's language.
    fn translated(&self, text: &str) -> String {
        let Some((en, zh)) = text.split_once('‖') else { return text.trim().to_owned() };
        if self.lang == Lang::En { en } else { zh }.trim().to_owned()
    }

    fn block(&mut self, block: &str, source: &impl Source) -> Result<()> {
        let (mark, text) = block.split_once(' ').unwrap_or((block, ""));
        if mark == "@excerpt" {
            self.excerpt(text);
            return Ok(());
        }
        if let Some(name) = mark.strip_prefix('@') {
            let caption = self.translated(text);
            if !source.insert(self, name, &caption) {
                bail!("no block `{name}`");
            }
            return Ok(());
        }
        match mark {
            "#" => self.doc.heading(self.depth + 1, self.translated(text)),
            "##" => self.doc.heading(self.depth + 2, self.translated(text)),
            "-" => self.doc.item(self.translated(text)),
            "$" => self.doc.blocks.push(Block::Formula(text.to_owned())),
            ">" => {
                let (tone, text) = text.split_once(' ').context("a call-out has a tone")?;
                let tone = match tone {
                    "good" => Tone::Good,
                    "note" => Tone::Note,
                    "bad" => Tone::Bad,
                    other => bail!("no tone `{other}`"),
                };
                self.doc.callout(tone, self.translated(text));
            }
            _ => self.doc.paragraph(self.translated(block)),
        }
        Ok(())
    }

    /// Adds a numbered table, without the columns in which no row has anything; nothing of one without rows or numbers.
    pub(crate) fn table(&mut self, caption: &str, columns: &[Column], rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        let empty = |column: usize| {
            rows.iter().all(|row| matches!(row[column].as_slice(), [span] if span.text() == NONE))
        };
        let kept: Vec<usize> = (0..columns.len()).filter(|&column| !empty(column)).collect();
        if kept.len() < columns.len() && !kept.iter().any(|&column| columns[column].align == Align::Right) {
            return;
        }
        let rows = rows.iter().map(|row| kept.iter().map(|&column| row[column].clone()).collect()).collect();
        let columns = kept.iter().map(|&column| columns[column].clone()).collect();
        self.tables += 1;
        let number = self.tables;
        let caption = say!(self.lang, "Table {number}. {caption}", "表 {number}　{caption}");
        self.doc.table(Table { caption, columns, rows });
    }

    /// Adds a table with a row for each selection; with a column of records where selections have sizes.
    pub(crate) fn measured(&mut self, caption: &str, selections: &[Select<'_>], measured: &[Measured<'_>]) {
        let sized = selections.iter().any(|select| select.size.is_some());
        let mut columns = Vec::new();
        if sized {
            columns.push(Column::number(self.lang.pick("records", "记录数")));
        }
        columns.push(Column::words(self.lang.pick("variant", "方案")));
        columns.extend(measured.iter().map(|(column, _)| column.clone()));
        let row = |select: &Select<'_>| {
            let mut row: Row = Vec::new();
            if sized {
                row.push(number(select.size.map_or_else(|| NONE.to_owned(), count)));
            }
            row.push(spans(&self.label(select.variant)));
            row.extend(measured.iter().map(|(_, show)| number(show(*select))));
            row
        };
        let rows: Vec<Row> = selections.iter().map(row).collect();
        self.table(caption, &columns, &rows);
    }

    /// Adds a table without a caption: names and values.
    pub(crate) fn pairs(&mut self, heads: [Column; 2], rows: impl IntoIterator<Item = [Vec<Span>; 2]>) {
        let rows = rows.into_iter().map(Vec::from).collect();
        self.doc.table(Table { caption: String::new(), columns: heads.into(), rows });
    }

    /// Adds a numbered figure; nothing of a chart without data.
    pub(crate) fn figure(&mut self, mut chart: Chart, caption: &str) {
        if chart.is_empty() {
            return;
        }
        chart.stem.insert_str(0, self.prefix);
        let number = self.charts.len() + 1;
        let alt = caption.to_owned();
        let caption = say!(self.lang, "Figure {number}. {caption}", "图 {number}　{caption}");
        self.doc.blocks.push(Block::Figure(Figure {
            stem: chart.stem.clone(),
            caption,
            alt,
            wide: chart.is_wide(),
        }));
        self.charts.push(chart);
    }

    /// Adds an item of the workspace's sources, or says where it is.
    fn excerpt(&mut self, item: &str) {
        let (file, item) = item.split_once(": ").unwrap_or((item, ""));
        let (around, begin) = item.split_once(" >> ").unwrap_or(("", item));
        let Some(found) = self.source.and_then(|root| excerpt(root, file, around, begin)) else {
            let name = begin.trim_end_matches(['(', '<', ' ', ':']);
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

    /// Returns what readers call the variant of a name.
    pub(crate) fn label(&self, name: &str) -> String {
        let known = self.results.experiment.variants.iter().find(|variant| variant.name == name);
        known.map_or_else(|| plain(name), |variant| self.lang.label(variant))
    }
}

fn begins_block(line: &str) -> bool {
    ["# ", "## ", "- ", "> ", "$ ", "@", "```"].iter().any(|mark| line.starts_with(mark))
}

/// Returns a cell of a number.
pub(crate) fn number(shown: String) -> Vec<Span> {
    vec![Span::Text(shown)]
}

/// Returns a cell of a name.
pub(crate) fn code(name: &str) -> Vec<Span> {
    vec![Span::Code(name.to_owned())]
}

/// Returns a number of records.
pub(crate) fn count(records: usize) -> String {
    crate::format::grouped(records as f64, 0)
}
