//! Paragraphs.

use docx_rs::{
    BreakType, Paragraph, ParagraphBorder, ParagraphBorderPosition, ParagraphBorders, Run, RunFonts, Shading,
};

use crate::document::{Span, Tone, is_short_code};

/// Width of the text in twentieths of a point: A4 less 20 mm on both sides.
pub(super) const TEXT_WIDTH: usize = 9638;

pub(super) fn text_paragraph(text: &str, style: &str) -> Paragraph {
    Paragraph::new().style(style).add_run(Run::new().add_text(text))
}

pub(super) fn runs(mut paragraph: Paragraph, spans: &[Span]) -> Paragraph {
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

pub(super) fn callout(tone: Tone, spans: &[Span]) -> Paragraph {
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

/// Returns the lines in one paragraph, so that their background has no gaps.
pub(super) fn code(text: &str) -> Paragraph {
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
