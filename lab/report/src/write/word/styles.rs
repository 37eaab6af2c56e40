//! Pages, styles and numberings.

use docx_rs::{
    AbstractNumbering, AlignmentType, Docx, Footer, Level, LevelJc, LevelText, LineSpacing, LineSpacingType,
    NumberFormat, Numbering, PageMargin, PageNum, Paragraph, RunFonts, SpecialIndentType, Start, Style,
    StyleType,
};

use crate::lang::Lang;

/// The numbering of lists with bullets.
pub(super) const BULLETS: usize = 2;

/// Returns a document with pages and styles, and nothing in it.
pub(super) fn empty(lang: Lang) -> Docx {
    let fonts = fonts("Times New Roman", lang.pick("SimSun", "宋体"));
    let bullet =
        Level::new(0, Start::new(1), NumberFormat::new("bullet"), LevelText::new("•"), LevelJc::new("left"))
            .indent(Some(400), Some(SpecialIndentType::Hanging(260)), None, None);
    let mut word = Docx::new()
        .page_size(11906, 16838)
        .page_margin(
            PageMargin::new().top(1134).bottom(1247).left(1134).right(1134).header(600).footer(600).gutter(0),
        )
        .default_fonts(fonts)
        .default_size(21)
        .default_line_spacing(
            LineSpacing::new().line_rule(LineSpacingType::Auto).line(lang_line(lang)).after(130),
        )
        .add_abstract_numbering(AbstractNumbering::new(BULLETS).add_level(bullet))
        .add_numbering(Numbering::new(BULLETS, BULLETS))
        .footer(
            Footer::new()
                .add_paragraph(Paragraph::new().align(AlignmentType::Center).add_page_num(PageNum::new())),
        );
    for style in styles(lang) {
        word = word.add_style(style);
    }
    word
}

fn lang_line(lang: Lang) -> i32 {
    if lang == Lang::Zh { 300 } else { 276 }
}

fn fonts(latin: &str, chinese: &str) -> RunFonts {
    RunFonts::new().ascii(latin).hi_ansi(latin).cs(latin).east_asia(chinese)
}

fn styles(lang: Lang) -> Vec<Style> {
    let bold_fonts = || fonts("Times New Roman", lang.pick("SimHei", "黑体"));
    let spacing = |before: u32, after: u32, line: i32| {
        LineSpacing::new().line_rule(LineSpacingType::Auto).before(before).after(after).line(line)
    };
    let new = |id: &str, name: &str| Style::new(id, StyleType::Paragraph).name(name).based_on("Normal");
    vec![
        new("Title", "Title").size(42).bold().fonts(bold_fonts()).line_spacing(spacing(0, 60, 260)),
        new("Subtitle", "Subtitle").size(19).color("5A5F66").line_spacing(spacing(0, 240, 260)),
        new("Heading1", "heading 1")
            .size(30)
            .bold()
            .fonts(bold_fonts())
            .outline_lvl(0)
            .line_spacing(spacing(400, 140, 260)),
        new("Heading2", "heading 2")
            .size(24)
            .bold()
            .fonts(bold_fonts())
            .outline_lvl(1)
            .line_spacing(spacing(280, 100, 260)),
        new("Heading3", "heading 3")
            .size(21)
            .bold()
            .fonts(bold_fonts())
            .outline_lvl(2)
            .line_spacing(spacing(220, 80, 260)),
        new("TOC1", "toc 1").line_spacing(spacing(80, 20, 260)),
        new("TOC2", "toc 2").indent(Some(360), None, None, None).size(19).line_spacing(spacing(0, 0, 260)),
        new("Cover", "Cover").size(24).line_spacing(spacing(120, 120, 300)),
        new("Caption", "caption").size(18).color("5A5F66").line_spacing(spacing(60, 120, 252)),
        new("Callout", "Callout").line_spacing(spacing(60, 140, lang_line(lang))).indent(
            Some(220),
            None,
            Some(120),
            None,
        ),
        new("Code", "Code")
            .size(14)
            .fonts(fonts("Courier New", "SimSun"))
            .line_spacing(spacing(40, 200, 240)),
        new("Formula", "Formula").italic().size(23).line_spacing(spacing(100, 160, 276)),
        new("Picture", "Picture").line_spacing(spacing(120, 20, 240)),
        new("AfterTable", "After Table").size(8).line_spacing(spacing(0, 160, 240)),
        new("Cell", "Cell").size(17).line_spacing(spacing(20, 20, 240)),
        new("SmallCell", "Small Cell").size(15).line_spacing(spacing(20, 20, 240)),
    ]
    .into_iter()
    .map(|style| style.q_format(true))
    .collect()
}
