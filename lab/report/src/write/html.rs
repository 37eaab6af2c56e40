//! HTML: one file, with its plots and its styles in it.

use std::cmp::Ordering;
use std::fmt::Write;

use crate::document::{Align, Block, Document, Figure, Span, Table, Tone, is_short_code};
use crate::lang::Lang;
use crate::plots::Rendered;

const STYLE: &str = include_str!("style.css");

/// Returns the document as one page that needs nothing else.
pub(crate) fn html(doc: &Document, lang: Lang, plots: &[Rendered]) -> String {
    let (code, title) = (lang.code(), escape(&doc.title));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light \
         dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    if !doc.subtitle.is_empty() {
        let _ = writeln!(out, "<p class=\"subtitle\">{}</p>", escape(&doc.subtitle));
    }
    for (name, value) in &doc.cover {
        let _ = writeln!(out, "<p class=\"subtitle\">{}: {}</p>", escape(name), escape(value));
    }
    contents(&mut out, doc, lang);
    let mut section = 0;
    for block in &doc.blocks {
        match block {
            Block::Heading(level, text) => {
                let level = level + 1;
                section += 1;
                let _ = writeln!(out, "<h{level} id=\"s{section}\">{}</h{level}>", escape(text));
            }
            Block::Paragraph(spans) => {
                let _ = writeln!(out, "<p>{}</p>", inline(spans));
            }
            Block::List(items) => {
                out.push_str("<ul>\n");
                for item in items {
                    let _ = writeln!(out, "<li>{}</li>", inline(item));
                }
                out.push_str("</ul>\n");
            }
            Block::Callout(tone, spans) => {
                let class = match tone {
                    Tone::Good => "good",
                    Tone::Note => "note",
                    Tone::Bad => "bad",
                };
                let _ = writeln!(out, "<p class=\"callout {class}\">{}</p>", inline(spans));
            }
            Block::Table(table) => write_table(&mut out, table),
            Block::Figure(figure) => write_figure(&mut out, figure, plots),
            Block::Code { text, caption, .. } => {
                let class = if is_short_code(text) { "code" } else { "code long" };
                let _ = write!(out, "<figure class=\"{class}\">");
                if !caption.is_empty() {
                    let _ = write!(out, "<figcaption>{}</figcaption>", escape(caption));
                }
                let _ = writeln!(out, "<pre tabindex=\"0\"><code>{}</code></pre></figure>", escape(text));
            }
            Block::Formula(text) => {
                let _ = writeln!(out, "<p class=\"formula\">{}</p>", escape(text));
            }
        }
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Links to the chapters and their sections.
fn contents(out: &mut String, doc: &Document, lang: Lang) {
    let label = lang.pick("Contents", "目录");
    let _ = writeln!(out, "<nav aria-label=\"{label}\"><ol>");
    let mut depth = 1;
    for (number, level, text) in doc.contents() {
        match level.cmp(&depth) {
            Ordering::Greater => out.push_str("<ol>\n"),
            Ordering::Less => out.push_str("</ol>\n"),
            Ordering::Equal => {}
        }
        depth = level;
        let _ = writeln!(out, "<li><a href=\"#s{number}\">{}</a></li>", escape(text));
    }
    out.push_str(if depth > 1 { "</ol>\n</ol></nav>\n" } else { "</ol></nav>\n" });
}

fn write_table(out: &mut String, table: &Table) {
    let class = if table.columns.iter().any(|column| column.share > 0) { "prose" } else { "numbers" };
    let size = if table.is_short() { " short" } else { "" };
    let _ = write!(out, "<div class=\"table{size}\" tabindex=\"0\"><table class=\"{class}\">");
    if !table.caption.is_empty() {
        let _ = write!(out, "<caption><span>{}</span></caption>", escape(&table.caption));
    }
    // Tables of one kind have their columns at the same places, whatever is in them.
    let shares: u32 = table.columns.iter().map(|column| column.share).sum();
    if table.columns.iter().all(|column| column.share > 0) {
        out.push_str("<colgroup>");
        for column in &table.columns {
            let _ = write!(out, "<col style=\"width:{}%\">", column.share * 100 / shares.max(1));
        }
        out.push_str("</colgroup>");
    }
    out.push_str("\n<thead><tr>");
    let class = |align: Align| if align == Align::Right { " class=\"n\"" } else { "" };
    for column in &table.columns {
        // A name such as ROUGE-L does not break at its hyphen.
        let whole = if column.head.contains('-') && !column.head.contains(' ') {
            " style=\"white-space:nowrap\""
        } else {
            ""
        };
        let _ = write!(out, "<th scope=\"col\"{}{whole}>{}</th>", class(column.align), escape(&column.head));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (column, cell) in table.columns.iter().zip(row) {
            let _ = write!(out, "<td{}>{}</td>", class(column.align), inline(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// Embeds the SVG itself, so that its letters follow the page's colours.
fn write_figure(out: &mut String, figure: &Figure, plots: &[Rendered]) {
    let Some(plot) = Rendered::find(plots, &figure.stem) else { return };
    let svg = plot.svg.trim_start_matches(|letter| letter != '<');
    let opening = format!("<svg role=\"img\" aria-label=\"{}\" ", escape(&figure.alt));
    let svg = svg.replacen("<svg ", &opening, 1);
    let _ = writeln!(out, "<figure>{svg}<figcaption>{}</figcaption></figure>", escape(&figure.caption));
}

fn inline(spans: &[Span]) -> String {
    let mut out = String::new();
    for span in spans {
        let _ = match span {
            Span::Text(text) => write!(out, "{}", escape(text)),
            Span::Strong(text) => write!(out, "<strong>{}</strong>", escape(text)),
            Span::Code(text) => write!(out, "<code>{}</code>", escape(text)),
            Span::Mark(text) => write!(out, "<mark>{}</mark>", escape(text)),
            Span::Break => write!(out, "<br>"),
        };
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_models_are_escaped() {
        let text = Span::Mark("<script>alert(\"&\")</script>".to_owned());
        assert_eq!(inline(&[text]), "<mark>&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;</mark>");
    }
}
