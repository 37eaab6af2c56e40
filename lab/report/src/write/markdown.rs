//! Markdown, as GitHub and pandoc read it.

use std::fmt::Write;

use crate::document::{Align, Block, Document, Span, Table, Tone};
use crate::lang::Lang;

/// Returns the document in Markdown; figures are `plots/STEM.svg` beside it.
pub(crate) fn markdown(doc: &Document, lang: Lang) -> String {
    let mut out = format!("# {}\n", escape(&doc.title));
    if !doc.subtitle.is_empty() {
        let _ = write!(out, "\n{}\n", escape(&doc.subtitle));
    }
    for (name, value) in &doc.cover {
        let _ = write!(out, "\n{}: {}\n", escape(name), escape(value));
    }
    for block in &doc.blocks {
        out.push('\n');
        match block {
            Block::Heading(level, text) => {
                let _ = writeln!(out, "{} {}", "#".repeat(usize::from(*level) + 1), escape(text));
            }
            Block::Paragraph(spans) => {
                let _ = writeln!(out, "{}", inline(spans, "  \n"));
            }
            Block::List(items) => {
                for item in items {
                    let _ = writeln!(out, "- {}", inline(item, " "));
                }
            }
            Block::Callout(tone, spans) => {
                let word = match tone {
                    Tone::Good => lang.pick("✓", "✓"),
                    Tone::Note => lang.pick("Note.", "注意："),
                    Tone::Bad => lang.pick("**Wrong.**", "**错误：**"),
                };
                let _ = writeln!(out, "> {word} {}", inline(spans, " "));
            }
            Block::Table(table) => write_table(&mut out, table),
            Block::Figure(figure) => {
                let alt = escape(&figure.alt);
                let _ = writeln!(out, "![{alt}](plots/{}.svg)\n\n{}", figure.stem, escape(&figure.caption));
            }
            Block::Code { language, text, caption } => {
                if !caption.is_empty() {
                    let _ = writeln!(out, "{}\n", escape(caption));
                }
                let fence = "`".repeat(longest_run(text).max(2) + 1);
                let _ = writeln!(out, "{fence}{language}\n{text}\n{fence}");
            }
            Block::Formula(text) => {
                let _ = writeln!(out, "    {text}");
            }
        }
    }
    out
}

fn write_table(out: &mut String, table: &Table) {
    if !table.caption.is_empty() {
        let _ = writeln!(out, "{}\n", escape(&table.caption));
    }
    let heads: Vec<String> = table.columns.iter().map(|column| cell(&escape(&column.head))).collect();
    let _ = writeln!(out, "| {} |", heads.join(" | "));
    let rules = table.columns.iter().map(|column| match column.align {
        Align::Left => "---",
        Align::Right => "---:",
    });
    let _ = writeln!(out, "|{}|", rules.collect::<Vec<_>>().join("|"));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|spans| cell(&inline(spans, "<br>"))).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn inline(spans: &[Span], line_break: &str) -> String {
    let mut out = String::new();
    for (index, span) in spans.iter().enumerate() {
        match span {
            Span::Text(text) => out.push_str(&escape(text)),
            Span::Strong(text) => {
                let before = out.chars().last();
                let after = spans.get(index + 1).and_then(|span| span.text().chars().next());
                let (open, close) = if asterisks_hold(before, text, after) {
                    ("**", "**")
                } else {
                    ("<strong>", "</strong>")
                };
                let _ = write!(out, "{open}{}{close}", escape(text));
            }
            Span::Code(text) => {
                let fence = "`".repeat(longest_run(text) + 1);
                let _ = write!(out, "{fence}{text}{fence}");
            }
            Span::Mark(text) => {
                let _ = write!(out, "<mark>{}</mark>", escape(text));
            }
            Span::Break => out.push_str(line_break),
        }
    }
    out
}

/// Returns true if asterisks around `text` are read as emphasis: not where punctuation inside meets a letter outside, as it does
/// in Chinese, which has no space there (§6.2 of the specification that GitHub follows).
fn asterisks_hold(before: Option<char>, text: &str, after: Option<char>) -> bool {
    let is_letter = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    (!is_letter(before) || is_letter(text.chars().next()))
        && (!is_letter(after) || is_letter(text.chars().last()))
}

/// Returns the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0)
}

/// Letters that Markdown has a meaning for.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (index, letter) in text.chars().enumerate() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' => {
                out.push('\\');
                out.push(letter);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '#' | '+' | '-' if index == 0 && last > 0 => {
                out.push('\\');
                out.push(letter);
            }
            '\n' => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emphasis_that_ends_in_punctuation_before_a_letter_is_html() {
        let shown = |text: &str| inline(&crate::document::spans(text), " ");
        assert_eq!(shown("**一致：**所有"), "<strong>一致：</strong>所有");
        assert_eq!(shown("**“甲”更好**：是"), "**“甲”更好**：是");
        assert_eq!(shown("**equal:** all"), "**equal:** all");
    }

    #[test]
    fn answers_of_models_are_escaped() {
        let spans = [Span::Text("# a*b|<script>_".to_owned()), Span::Break, Span::Code("x`y".to_owned())];
        assert_eq!(cell(&inline(&spans, "<br>")), "\\# a\\*b\\|&lt;script&gt;\\_<br>``x`y``");
    }
}
