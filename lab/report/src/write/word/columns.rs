//! Widths of columns: programs differ in computing them from a Word file, so they are given.

use crate::document::{Span, Table, plain_text};

/// Space left and right of a cell's text.
pub(super) const PADDING: usize = 70;

/// Widths of the columns of a table in twentieths of a point, together `total`; `letter`: those of an average letter.
pub(super) fn widths(table: &Table, total: usize, letter: usize) -> Vec<usize> {
    let count = table.columns.len();
    let mut least = vec![0; count];
    let mut natural = vec![0; count];
    for (index, column) in table.columns.iter().enumerate() {
        let cells: Vec<Content> =
            table.rows.iter().filter_map(|row| row.get(index)).map(|cell| Content::of(cell)).collect();
        let head = Content { text: column.head.clone(), wide: true };
        let body = cells.iter().map(Content::line).max().unwrap_or(0).max(100) * letter / 10;
        for cell in cells.iter().chain([&head]) {
            least[index] = least[index].max(cell.word().min(300) * letter / 10 + 2 * PADDING);
            natural[index] = natural[index].max(cell.line().min(460) * letter / 10 + 2 * PADDING);
        }
        // A head may break where its column is narrow.
        natural[index] = natural[index].min(body + 2 * PADDING).max(least[index]);
    }
    let shares: u32 = table.columns.iter().map(|column| column.share).sum();
    if shares > 0 {
        let fixed: usize =
            (0..count).filter(|&index| table.columns[index].share == 0).map(|index| natural[index]).sum();
        let rest = total.saturating_sub(fixed).max(total / 3);
        for (index, column) in table.columns.iter().enumerate().filter(|(_, column)| column.share > 0) {
            natural[index] = rest * column.share as usize / shares as usize;
        }
    }
    fit(&natural, &least, total)
}

/// Stretches or squeezes what is natural to the whole width, no column below its least as long as all fit.
fn fit(natural: &[usize], least: &[usize], total: usize) -> Vec<usize> {
    let (wanted, needed) = (natural.iter().sum::<usize>().max(1), least.iter().sum::<usize>());
    if wanted <= total || needed >= total {
        return natural.iter().map(|width| width * total / wanted).collect();
    }
    // Each gets its least, and of the rest what it would like beyond that.
    let spare = total - needed;
    let over: Vec<usize> =
        natural.iter().zip(least).map(|(width, least)| width.saturating_sub(*least)).collect();
    let all_over = over.iter().sum::<usize>().max(1);
    least.iter().zip(over).map(|(least, over)| least + spare * over / all_over).collect()
}

/// Text of a cell; wide letters are bold or code.
struct Content {
    text: String,
    wide: bool,
}

impl Content {
    fn of(cell: &[Span]) -> Self {
        let wide = matches!(cell, [Span::Code(_) | Span::Strong(_)]);
        Self { text: plain_text(cell), wide }
    }

    /// Returns the longest line, in tenths of a letter.
    fn line(&self) -> usize {
        self.text.split('\n').map(|line| self.width(line)).max().unwrap_or(0)
    }

    /// Returns the longest word, in tenths of a letter: what no space stands in that a line may break at.
    fn word(&self) -> usize {
        let words =
            self.text.split(|letter: char| (letter.is_whitespace() && letter != '\u{a0}') || letter == '（');
        words.map(|word| self.width(word)).max().unwrap_or(0)
    }

    fn width(&self, text: &str) -> usize {
        let width = width(text);
        if self.wide { width * 6 / 5 } else { width }
    }
}

/// Returns the width of a text in tenths of an average letter: Chinese letters are twice as wide, punctuation is narrow.
fn width(text: &str) -> usize {
    let of = |letter: char| match letter {
        letter if u32::from(letter) >= 0x2e80 => 20,
        ' ' | '\u{a0}' | '.' | ',' | ':' | ';' | '[' | ']' | '(' | ')' | '\'' => 6,
        '%' => 17,
        letter if letter.is_uppercase() => 13,
        _ => 10,
    };
    text.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_not_broken_across_lines() {
        let cell = Content::of(&[Span::Text("0.1\u{a0}[0,\u{a0}1]".to_owned())]);
        assert_eq!((cell.word(), cell.line()), (76, 76));
    }

    #[test]
    fn a_squeezed_column_keeps_its_longest_word() {
        assert_eq!(fit(&[100, 900], &[100, 200], 600), [100, 500]);
        assert_eq!(fit(&[100, 300], &[50, 50], 800), [200, 600]);
        assert_eq!((width("损失 a"), width("0.1")), (56, 26));
    }
}
