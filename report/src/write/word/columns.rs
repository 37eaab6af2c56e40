//! How wide columns are: Word's own way to find out differs between programs, so widths are given.

use crate::document::{Table, plain_text};

/// Space left and right of a cell's text.
pub(super) const PADDING: usize = 70;

/// Widths of the columns of a table in twentieths of a point, together `total`; `letter`: those of an average letter.
pub(super) fn widths(table: &Table, total: usize, letter: usize) -> Vec<usize> {
    let count = table.columns.len();
    let mut least = vec![0; count];
    let mut natural = vec![0; count];
    for (index, column) in table.columns.iter().enumerate() {
        let cells = table.rows.iter().filter_map(|row| row.get(index)).map(|cell| plain_text(cell));
        for text in cells.chain([column.head.clone()]) {
            let word = text.split_whitespace().map(width).max().unwrap_or(0);
            least[index] = least[index].max(word.min(24) * letter + 2 * PADDING);
            natural[index] = natural[index].max(width(&text).min(46) * letter + 2 * PADDING);
        }
        // A head may break where its column is narrow.
        let body =
            table.rows.iter().filter_map(|row| row.get(index)).map(|cell| width(&plain_text(cell))).max();
        natural[index] =
            natural[index].min(body.unwrap_or(0).max(10) * letter + 2 * PADDING).max(least[index]);
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

/// Letters of a text, Chinese ones twice as wide.
fn width(text: &str) -> usize {
    text.chars().map(|letter| if u32::from(letter) >= 0x2e80 { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_squeezed_column_keeps_its_longest_word() {
        assert_eq!(fit(&[100, 900], &[100, 200], 600), [100, 500]);
        assert_eq!(fit(&[100, 300], &[50, 50], 800), [200, 600]);
        assert_eq!(width("损失 a"), 6);
    }
}
