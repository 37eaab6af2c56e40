//! Blocks of a document.

use super::{Span, spans};

/// A whole document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    /// Its title.
    pub(crate) title: String,
    /// A line under it.
    pub(crate) subtitle: String,
    /// Lines of a cover, name and value: who hands it in. Without any there is no cover.
    pub(crate) cover: Vec<(String, String)>,
    /// Everything else.
    pub(crate) blocks: Vec<Block>,
}

/// Severity of a call-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// An expected result.
    Good,
    /// To be read before believing the numbers.
    Note,
    /// Something is wrong.
    Bad,
}

/// Alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Quantity and unit.
    pub(crate) head: String,
    pub(crate) align: Align,
    /// Its share of the width, for columns of running text; 0 for as wide as its words.
    pub(crate) share: u32,
}

impl Column {
    /// Creates a column of words.
    pub(crate) fn words(head: impl Into<String>) -> Self {
        Self { head: head.into(), align: Align::Left, share: 0 }
    }

    /// Creates a column of running text.
    pub(crate) fn text(head: impl Into<String>, share: u32) -> Self {
        Self { head: head.into(), align: Align::Left, share }
    }

    /// Creates a column of numbers.
    pub(crate) fn number(head: impl Into<String>) -> Self {
        Self { head: head.into(), align: Align::Right, share: 0 }
    }
}

/// A row of cells.
pub(crate) type Row = Vec<Vec<Span>>;

/// A table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Empty for a table that its surroundings explain.
    pub(crate) caption: String,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    /// Its rows.
    pub(crate) rows: Vec<Row>,
}

/// Lines of a table or of code up to which it stays on one page.
const SHORT: usize = 18;
/// Letters of a whole line of a table.
const LINE: usize = 100;

impl Table {
    /// Returns true if it is so short that a page break inside would do more harm than the space it leaves.
    pub(crate) fn is_short(&self) -> bool {
        let shares: u32 = self.columns.iter().map(|column| column.share).sum();
        let lines = |(column, cell): (&Column, &Vec<Span>)| {
            let width = if column.share > 0 { LINE * column.share as usize / shares as usize } else { LINE };
            let text = super::plain_text(cell);
            text.split('\n').map(|line| line.chars().count().div_ceil(width.max(1)).max(1)).sum::<usize>()
        };
        let row = |row: &Row| self.columns.iter().zip(row).map(lines).max().unwrap_or(0);
        self.rows.iter().map(row).sum::<usize>() <= SHORT
    }
}

/// Returns true if code is so short that it stays on one page.
pub(crate) fn is_short_code(text: &str) -> bool {
    text.lines().count() <= 2 * SHORT
}

/// A plot: `plots/STEM.svg` and `plots/STEM.png`.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Name of its files.
    pub(crate) stem: String,
    pub(crate) caption: String,
    /// The same for those who do not see it.
    pub(crate) alt: String,
    /// True for one that needs the whole width of a page.
    pub(crate) wide: bool,
}

/// One block.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    /// A heading, from 1.
    Heading(u8, String),
    /// A paragraph.
    Paragraph(Vec<Span>),
    /// Items with bullets.
    List(Vec<Vec<Span>>),
    /// A paragraph that stands out.
    Callout(Tone, Vec<Span>),
    /// A table.
    Table(Table),
    /// A plot.
    Figure(Figure),
    /// Lines of code and where they are from.
    Code {
        /// Language, for colours.
        language: &'static str,
        /// The lines.
        text: String,
        /// Name and origin; may be empty.
        caption: String,
    },
    /// A formula, as text.
    Formula(String),
}

impl Document {
    /// Returns the headings that the contents name, with their numbers among all headings: two levels.
    pub(crate) fn contents(&self) -> Vec<(usize, u8, &str)> {
        let headings = self.blocks.iter().filter_map(|block| match block {
            Block::Heading(level, text) => Some((*level, text.as_str())),
            _ => None,
        });
        let numbered = headings.enumerate().map(|(index, (level, text))| (index + 1, level, text));
        numbered.filter(|(_, level, _)| *level <= 2).collect()
    }

    /// Adds a heading.
    pub(crate) fn heading(&mut self, level: u8, text: impl Into<String>) {
        self.blocks.push(Block::Heading(level, text.into()));
    }

    /// Adds a paragraph of a template's sentences.
    pub(crate) fn paragraph(&mut self, sentences: impl AsRef<str>) {
        self.blocks.push(Block::Paragraph(spans(&capitalised(sentences.as_ref()))));
    }

    /// Adds an item to the list that the document ends with, or begins one.
    pub(crate) fn item(&mut self, sentences: impl AsRef<str>) {
        let item = spans(&capitalised(sentences.as_ref()));
        match self.blocks.last_mut() {
            Some(Block::List(items)) => items.push(item),
            _ => self.blocks.push(Block::List(vec![item])),
        }
    }

    /// Adds a call-out.
    pub(crate) fn callout(&mut self, tone: Tone, sentences: impl AsRef<str>) {
        self.blocks.push(Block::Callout(tone, spans(&capitalised(sentences.as_ref()))));
    }

    /// Adds a table; nothing of one without rows.
    pub(crate) fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }

    /// Adds code.
    pub(crate) fn code(
        &mut self,
        language: &'static str,
        text: impl Into<String>,
        caption: impl Into<String>,
    ) {
        self.blocks.push(Block::Code { language, text: text.into(), caption: caption.into() });
    }
}

/// Begins a sentence with a capital: it may begin with a label, which has none. Names of code stay as they are.
fn capitalised(sentence: &str) -> String {
    let start = if sentence.starts_with("**") { 2 } else { 0 };
    let mut out = sentence.to_owned();
    let word = out[start..].split([' ', ',', ':', '*']).next().unwrap_or_default();
    if !word.chars().all(|letter| letter.is_ascii_alphabetic() || matches!(letter, '\'' | '-')) {
        return out;
    }
    if let Some(first) = out.get_mut(start..start + 1) {
        first.make_ascii_uppercase();
    }
    out
}
