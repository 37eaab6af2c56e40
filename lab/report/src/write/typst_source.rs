//! The document in typst's language. Every piece of text goes in as a string, never as markup.

use std::fmt::Write;

use super::fonts::{MONO, SERIF};
use crate::document::{Align, Block, Column, Document, Span, Table, Tone, is_short_code};
use crate::lang::Lang;

/// Pages, letters and the looks of blocks.
const STYLE: &str = include_str!("style.typ");

/// Letters of code and of tables may be this wide before they get smaller, in columns.
const WIDE_CODE: usize = 96;
/// Columns beyond which heads stand in two lines.
const MANY_COLUMNS: usize = 7;

/// Returns the document as a typst file. `cjk`: the family of Chinese letters.
pub(super) fn typst_source(doc: &Document, lang: Lang, cjk: Option<&str>) -> String {
    let families = |first: &str| {
        let mut list = format!("({}, ", string(first));
        if let Some(family) = cjk {
            let _ = write!(list, "{}, ", string(family));
        }
        list + ")"
    };
    // Chinese punctuation comes out of the Chinese font, which is why it is first there, but for Latin letters.
    let body = match (lang, cjk) {
        (Lang::Zh, Some(family)) => {
            format!("((name: {}, covers: \"latin-in-cjk\"), {})", string(SERIF), string(family))
        }
        _ => families(SERIF),
    };
    let mut out = format!(
        "#let body-fonts = {body}\n#let mono-fonts = {}\n#let body-lang = {}\n#let doc-title = {}\n#let doc-subtitle = {}\n#let doc-cover = ({})\n#let \
         contents-title = {}\n{STYLE}\n",
        families(MONO),
        string(lang.code()),
        string(&doc.title),
        string(&doc.subtitle),
        doc.cover.iter().fold(String::new(), |out, (name, value)| out
            + &format!("({}, {}), ", string(name), string(value))),
        string(lang.pick("Contents", "目录")),
    );
    for block in &doc.blocks {
        match block {
            Block::Heading(level, text) => {
                let _ = writeln!(out, "#heading(level: {level}, {})", string(text));
            }
            Block::Paragraph(spans) => {
                // What it announces stands below it.
                let announces = spans.last().is_some_and(|span| span.text().ends_with([':', '：']));
                let around = if announces { "#announcing" } else { "#par" };
                let _ = writeln!(out, "{around}[{}]", inline(spans));
            }
            Block::List(items) => {
                let items: Vec<String> = items.iter().map(|item| format!("[{}]", inline(item))).collect();
                let _ = writeln!(out, "#list({})", items.join(", "));
            }
            Block::Callout(tone, spans) => {
                let tone = match tone {
                    Tone::Good => "good",
                    Tone::Note => "note",
                    Tone::Bad => "bad",
                };
                let _ = writeln!(out, "#callout(\"{tone}\")[{}]", inline(spans));
            }
            Block::Table(table) => write_table(&mut out, table),
            Block::Figure(figure) => {
                let path = string(&format!("plots/{}.svg", figure.stem));
                let width = if figure.wide { "100%" } else { "80%" };
                let (alt, caption) = (string(&figure.alt), string(&figure.caption));
                let _ = writeln!(out, "#plot({path}, {width}, {alt}, {caption})");
            }
            Block::Code { language, text, caption } => {
                let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
                let size = if widest > WIDE_CODE { "6.6pt" } else { "7.4pt" };
                let _ = writeln!(
                    out,
                    "#listing({}, {}, {}, {size}, {})",
                    string(language),
                    string(text),
                    string(caption),
                    !is_short_code(text),
                );
            }
            Block::Formula(text) => {
                let _ = writeln!(out, "#formula({})", string(text));
            }
        }
    }
    out
}

fn write_table(out: &mut String, table: &Table) {
    let columns: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| match (column.share, column.align) {
            (0, Align::Left) if index == 0 => "auto".to_owned(),
            (0, _) => "auto".to_owned(),
            (share, _) => format!("{share}fr"),
        })
        .collect();
    let aligns: Vec<&str> = table
        .columns
        .iter()
        .map(|column| match column.align {
            Align::Left => "left",
            Align::Right => "right",
        })
        .collect();
    let many = table.columns.len() > MANY_COLUMNS;
    let head = |column: &Column| match many.then(|| two_lines(&column.head)).flatten() {
        Some((first, second)) => format!("[#{};#linebreak();#{}]", string(first), string(second)),
        None => format!("[#{}]", string(&column.head)),
    };
    let heads: Vec<String> = table.columns.iter().map(head).collect();
    let prose = table.columns.iter().any(|column| column.share > 0);
    let _ = write!(
        out,
        "#grid-table({}, {prose}, {}, ({},), ({},), ({},), (",
        string(&table.caption),
        !table.is_short(),
        columns.join(", "),
        aligns.join(", "),
        heads.join(", "),
    );
    for cell in table.rows.iter().flatten() {
        let _ = write!(out, "[{}], ", inline(cell));
    }
    out.push_str("))\n");
}

fn inline(spans: &[Span]) -> String {
    let mut out = String::new();
    for span in spans {
        let _ = match span {
            Span::Text(text) => write!(out, "#{}", string(text)),
            Span::Strong(text) => write!(out, "#strong({})", string(text)),
            Span::Code(text) => write!(out, "#raw({})", string(&breakable(text))),
            Span::Mark(text) => write!(out, "#marked({})", string(text)),
            Span::Break => write!(out, "#linebreak()"),
        };
        out.push(';');
    }
    out
}

/// Splits a long head into two lines of about one length, where it may break.
fn two_lines(head: &str) -> Option<(&str, &str)> {
    let length = |text: &str| text.chars().count();
    if length(head) <= 8 {
        return None;
    }
    let places = head.match_indices([' ', '（']).map(|(at, _)| head.split_at(at));
    let longer = |(first, second): &(&str, &str)| length(first).max(length(second));
    places.min_by_key(longer).map(|(first, second)| (first, second.trim_start_matches(' ')))
}

/// Lets long names of code break between their parts, and hashes anywhere.
fn breakable(text: &str) -> String {
    if text.chars().count() <= 24 {
        return text.to_owned();
    }
    let mut out = String::new();
    for (index, letter) in text.chars().enumerate() {
        out.push(letter);
        if matches!(letter, '/' | '_' | '-' | '.' | ':') || (text.len() == 64 && index % 8 == 7) {
            out.push('\u{200b}');
        }
    }
    out
}

/// Formats a string in typst's language.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => {}
            '\t' => out.push_str("    "),
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_column_head_breaks_near_its_middle() {
        assert_eq!(two_lines("peak memory, MiB"), Some(("peak", "memory, MiB")));
        assert_eq!(two_lines("内存峰值（MiB）"), Some(("内存峰值", "（MiB）")));
        assert_eq!((two_lines("adapter"), two_lines("perplexity")), (None, None));
    }

    #[test]
    fn answers_of_models_are_strings_in_typst() {
        let text = Span::Text("#panic(\"x\") \\ $a$ \u{7}\n".to_owned());
        assert_eq!(inline(&[text]), "#\"#panic(\\\"x\\\") \\\\ $a$ \\u{7}\\n\";");
    }
}
