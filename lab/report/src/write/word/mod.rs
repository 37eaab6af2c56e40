//! Word, by docx-rs.

mod columns;
mod contents;
mod paragraph;
mod styles;
mod table;

use anyhow::{Context, Result};
use docx_rs::{AlignmentType, Docx, IndentLevel, NumberingId, Paragraph, Pic, Run};

use self::paragraph::{TEXT_WIDTH, callout, code, runs, text_paragraph};
use crate::document::{Block, Document, Figure};
use crate::lang::Lang;
use crate::plots::Rendered;

/// Units of pictures in a twentieth of a point.
const EMU: usize = 635;

/// Returns the document for Word.
pub(crate) fn docx(doc: &Document, lang: Lang, plots: &[Rendered]) -> Result<Vec<u8>> {
    let mut word = styles::empty(lang);
    word = word.add_paragraph(text_paragraph(&doc.title, "Title"));
    if !doc.subtitle.is_empty() {
        word = word.add_paragraph(text_paragraph(&doc.subtitle, "Subtitle"));
    }
    for (name, value) in &doc.cover {
        let line = format!("{name}{}{value}", lang.pick(": ", "："));
        word = word.add_paragraph(text_paragraph(&line, "Cover").align(AlignmentType::Center));
    }
    for paragraph in contents::contents(doc, lang) {
        word = word.add_paragraph(paragraph);
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

fn add_figure(word: Docx, figure: &Figure, plots: &[Rendered]) -> Docx {
    let Some(plot) = Rendered::find(plots, &figure.stem) else { return word };
    let width = TEXT_WIDTH * EMU;
    let height = width * plot.size.1 as usize / plot.size.0.max(1) as usize;
    let picture = Pic::new_with_dimensions(plot.png.clone(), plot.size.0, plot.size.1);
    let picture = picture.size(width as u32, height as u32);
    let paragraph = Paragraph::new().style("Picture").keep_next(true).add_run(Run::new().add_image(picture));
    word.add_paragraph(paragraph).add_paragraph(text_paragraph(&figure.caption, "Caption"))
}
