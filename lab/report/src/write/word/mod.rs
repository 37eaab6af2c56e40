//! Word, by docx-rs.

mod columns;
mod styles;
mod table;

use anyhow::{Context, Result};
use docx_rs::{
    AlignmentType, BreakType, Docx, IndentLevel, NumberingId, Paragraph, ParagraphBorder,
    ParagraphBorderPosition, ParagraphBorders, Pic, Run, RunFonts, Shading,
};

use crate::document::{Block, Document, Figure, Span, Tone, is_short_code};
use crate::lang::Lang;
use crate::plots::Rendered;

/// Width of the text in twentieths of a point: A4 less 20 mm on both sides.
const TEXT_WIDTH: usize = 9638;
/// Units of pictures in a twentieth of a point.
const EMU: usize = 635;

/// The document for Word.
pub(crate) fn docx(doc: &Document, lang: Lang, plots: &[Rendered]) -> Result<Vec<u8>> {
    let mut word = styles::empty(lang);
    word = word.add_paragraph(text_paragraph(&doc.title, "Title"));
    if !doc.subtitle.is_empty() {
        word = word.add_paragraph(text_paragraph(&doc.subtitle, "Subtitle"));
    }
    for block in &doc.blocks {
        word = add(word, block, plots);
    }
    let mut parts = word.build();
    parts.document = table::repeat_heads(parts.document);
    let mut file = std::io::Cursor::new(Vec::new());
    parts.pack(&mut file).context("cannot put the Word file together")?;
    Ok(file.into_inner())
}

fn add(word: Docx, block: &Block, plots: &[Rendered]) -> Docx {
    match block {
        Block::Heading(level, text) => {
            word.add_paragraph(text_paragraph(text, &format!("Heading{level}")).keep_next(true))
        }
        Block::Paragraph(spans) => {
            // What it announces stands below it.
            let announces = spans.last().is_some_and(|span| span.text().ends_with([':', '：']));
            word.add_paragraph(runs(Paragraph::new().keep_next(announces), spans))
        }
        Block::List(items) => items.iter().fold(word, |word, item| {
            let bullet = Paragraph::new().numbering(NumberingId::new(styles::BULLETS), IndentLevel::new(0));
            word.add_paragraph(runs(bullet, item))
        }),
        Block::Callout(tone, spans) => word.add_paragraph(callout(*tone, spans)),
        Block::Table(table) => {
            let word = if table.caption.is_empty() {
                word
            } else {
                word.add_paragraph(text_paragraph(&table.caption, "Caption").keep_next(true))
            };
            // Word joins tables that nothing stands between.
            word.add_table(table::table(table)).add_paragraph(Paragraph::new().style("AfterTable"))
        }
        Block::Figure(figure) => add_figure(word, figure, plots),
        Block::Code { text, caption, .. } => {
            let word = if caption.is_empty() {
                word
            } else {
                word.add_paragraph(text_paragraph(caption, "Caption").keep_next(true))
            };
            word.add_paragraph(code(text))
        }
        Block::Formula(text) => {
            word.add_paragraph(text_paragraph(text, "Formula").align(AlignmentType::Center))
        }
    }
}

fn text_paragraph(text: &str, style: &str) -> Paragraph {
    Paragraph::new().style(style).add_run(Run::new().add_text(text))
}

fn runs(mut paragraph: Paragraph, spans: &[Span]) -> Paragraph {
    for span in spans {
        let run = match span {
            Span::Text(text) => Run::new().add_text(text),
            Span::Strong(text) => Run::new().add_text(text).bold(),
            Span::Code(text) => Run::new().add_text(text).fonts(mono()),
            Span::Mark(text) => Run::new().add_text(text).bold().highlight("yellow"),
            Span::Break => Run::new().add_break(BreakType::TextWrapping),
        };
        paragraph = paragraph.add_run(run);
    }
    paragraph
}

fn mono() -> RunFonts {
    RunFonts::new().ascii("Courier New").hi_ansi("Courier New").cs("Courier New")
}

fn callout(tone: Tone, spans: &[Span]) -> Paragraph {
    let colour = match tone {
        Tone::Good => "00785A",
        Tone::Note => "8A5A00",
        Tone::Bad => "B3261E",
    };
    let mut paragraph = runs(Paragraph::new().style("Callout").keep_lines(true), spans);
    let border = ParagraphBorder::new(ParagraphBorderPosition::Left).size(24).space(8).color(colour);
    paragraph.property = paragraph
        .property
        .set_borders(ParagraphBorders::with_empty().set(border))
        .shading(Shading::new().fill("F5F6F8"));
    paragraph
}

/// Lines in one paragraph, so that their background has no gaps.
fn code(text: &str) -> Paragraph {
    let mut run = Run::new();
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            run = run.add_break(BreakType::TextWrapping);
        }
        run = run.add_text(line);
    }
    let mut paragraph = Paragraph::new().style("Code").keep_lines(is_short_code(text)).add_run(run);
    paragraph.property = paragraph.property.shading(Shading::new().fill("F5F6F8"));
    paragraph
}

fn add_figure(word: Docx, figure: &Figure, plots: &[Rendered]) -> Docx {
    let Some(plot) = super::plot(plots, &figure.stem) else { return word };
    let width = TEXT_WIDTH * EMU;
    let height = width * plot.size.1 as usize / plot.size.0.max(1) as usize;
    let picture = Pic::new_with_dimensions(plot.png.clone(), plot.size.0, plot.size.1);
    let picture = picture.size(width as u32, height as u32);
    let paragraph = Paragraph::new().style("Picture").keep_next(true).add_run(Run::new().add_image(picture));
    word.add_paragraph(paragraph).add_paragraph(text_paragraph(&figure.caption, "Caption"))
}
