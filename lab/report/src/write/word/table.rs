//! Tables.

use docx_rs::{
    AlignmentType, BorderType, Paragraph, Run, Table as WordTable, TableBorder, TableBorderPosition,
    TableBorders, TableCell, TableCellBorder, TableCellBorderPosition, TableCellBorders, TableCellMargins,
    TableLayoutType, TableRow, VAlignType, WidthType,
};

use super::columns::{PADDING, widths};
use super::paragraph::{TEXT_WIDTH, runs};
use crate::document::{Align, Table};

/// Columns beyond which letters get smaller.
const MANY_COLUMNS: usize = 6;

pub(super) fn table(table: &Table) -> WordTable {
    let (style, letter) = if table.columns.len() > MANY_COLUMNS { ("SmallCell", 78) } else { ("Cell", 90) };
    let widths = widths(table, TEXT_WIDTH, letter);
    let aligned = |align: Align| match align {
        Align::Left => AlignmentType::Left,
        Align::Right => AlignmentType::Right,
    };
    let heads = table.columns.iter().zip(&widths).map(|(column, width)| {
        let paragraph = Paragraph::new()
            .style(style)
            .align(aligned(column.align))
            .keep_next(true)
            .add_run(Run::new().add_text(&column.head).bold());
        let rule = TableCellBorder::new(TableCellBorderPosition::Bottom).size(8).color("222222");
        TableCell::new()
            .width(*width, WidthType::Dxa)
            .vertical_align(VAlignType::Bottom)
            .set_borders(TableCellBorders::with_empty().set(rule))
            .add_paragraph(paragraph)
    });
    let mut rows = vec![TableRow::new(heads.collect()).cant_split()];
    let (last, short) = (table.rows.len().saturating_sub(1), table.is_short());
    for (index, row) in table.rows.iter().enumerate() {
        let cells = table.columns.iter().zip(row).zip(&widths).map(|((column, spans), width)| {
            // The first rows stay with the head.
            let keep = (short || index < 2) && index < last;
            let paragraph = Paragraph::new().style(style).align(aligned(column.align)).keep_next(keep);
            TableCell::new().width(*width, WidthType::Dxa).add_paragraph(runs(paragraph, spans))
        });
        rows.push(TableRow::new(cells.collect()).cant_split());
    }
    WordTable::new(rows)
        .set_grid(widths)
        .layout(TableLayoutType::Fixed)
        .width(TEXT_WIDTH, WidthType::Dxa)
        .margins(TableCellMargins::new().margin(30, PADDING, 30, PADDING))
        .set_borders(rules())
}

/// Returns thin lines between rows, and nothing else.
fn rules() -> TableBorders {
    let thin = |position| TableBorder::new(position).border_type(BorderType::Single).size(2).color("C9CCD1");
    TableBorders::with_empty().set(thin(TableBorderPosition::InsideH)).set(thin(TableBorderPosition::Bottom))
}

/// Heads of tables again on each page: docx-rs has no word for it.
pub(super) fn repeat_heads(document: Vec<u8>) -> Vec<u8> {
    let Ok(text) = String::from_utf8(document.clone()) else { return document };
    let mut parts = text.split("<w:tbl>");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("<w:tbl>");
        out.push_str(&part.replacen("<w:cantSplit />", "<w:cantSplit /><w:tblHeader />", 1));
    }
    out.into_bytes()
}
