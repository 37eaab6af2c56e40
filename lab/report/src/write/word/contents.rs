//! The table of contents.

use docx_rs::{FieldCharType, InstrText, InstrToC, Paragraph, Run};

use super::paragraph::text_paragraph;
use crate::document::Document;
use crate::lang::Lang;

/// Returns the headings as the result of a field, to which Word adds the pages when it is asked to update it: only Word knows
/// them.
pub(super) fn contents(doc: &Document, lang: Lang) -> Vec<Paragraph> {
    let entries = doc.contents();
    let last = entries.len();
    let title = text_paragraph(lang.pick("Contents", "目录"), "Subtitle");
    let mut paragraphs = vec![title.page_break_before(!doc.cover.is_empty())];
    for (index, (_, level, text)) in entries.into_iter().enumerate() {
        let mut paragraph = Paragraph::new().style(&format!("TOC{level}"));
        if index == 0 {
            let field = InstrText::TOC(InstrToC::new().heading_styles_range(1, 2));
            paragraph = paragraph
                .add_run(Run::new().add_field_char(FieldCharType::Begin, false).add_instr_text(field));
            paragraph = paragraph.add_run(Run::new().add_field_char(FieldCharType::Separate, false));
        }
        paragraph = paragraph.add_run(Run::new().add_text(text));
        if index + 1 == last {
            paragraph = paragraph.add_run(Run::new().add_field_char(FieldCharType::End, false));
        }
        paragraphs.push(paragraph);
    }
    paragraphs
}
