//! A terminal: letters of one width on a dark ground.

use anyhow::Result;
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;

use super::canvas::{Canvas, WIDTH};

const GROUND: RGBColor = RGBColor(0x1e, 0x21, 0x27);
const BAR: RGBColor = RGBColor(0x34, 0x38, 0x40);
const OUTPUT: RGBColor = RGBColor(0xd6, 0xd9, 0xde);
const COMMAND: RGBColor = RGBColor(0x8f, 0xd0, 0x8a);
const LETTERS: f64 = 13.6;
const ROW: f64 = 19.0;
const TOP: f64 = 36.0;
const LEFT: f64 = 16.0;
/// Columns of a row: a letter of the typewriter face is 0.602 em wide.
const COLUMNS: usize = 104;

/// Returns the height in units.
pub(super) fn height(lines: &[String]) -> f64 {
    TOP + ROW * rows(lines).len() as f64 + 12.0
}

pub(super) fn draw<B: DrawingBackend>(canvas: &Canvas<'_, B>, lines: &[String]) -> Result<()> {
    canvas.bar((0.0, 0.0), (WIDTH, height(lines)), GROUND, 1.0)?;
    canvas.bar((0.0, 0.0), (WIDTH, 26.0), BAR, 1.0)?;
    for (row, (line, is_command)) in rows(lines).iter().enumerate() {
        let at = (LEFT, TOP + ROW * (row as f64 + 0.5));
        canvas.typed(at, line, LETTERS, if *is_command { COMMAND } else { OUTPUT })?;
    }
    Ok(())
}

/// Returns the rows that lines fill, and whether each is of the command, which is the first line.
fn rows(lines: &[String]) -> Vec<(String, bool)> {
    let mut rows = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let letters: Vec<char> = line.chars().collect();
        let parts = letters.chunks(COLUMNS).map(|part| part.iter().collect::<String>());
        let parts = if letters.is_empty() { vec![String::new()] } else { parts.collect() };
        rows.extend(parts.into_iter().map(|part| (part, index == 0)));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_in_the_next_row() {
        let lines = ["$ ".to_owned() + &"x".repeat(150), String::new(), "end".to_owned()];
        let found = rows(&lines);
        assert_eq!(found.iter().map(|row| row.0.len()).collect::<Vec<_>>(), [104, 48, 0, 3]);
        assert_eq!(found.iter().map(|row| row.1).collect::<Vec<_>>(), [true, true, false, false]);
    }
}
