//! Sample texts beside each other, with the first difference marked.

use results::{Cell, Text, Variant};

use crate::document::{Column, Span, Table};
use crate::lang::{Lang, say};
use crate::page::Page;
use crate::select::{Results, Select};

/// Records that are shown.
const RECORDS: usize = 6;
/// Answers that stand beside each other; more stand below each other.
const ABREAST: usize = 4;
/// Letters of an answer that are shown.
const LETTERS: usize = 420;

/// Some records, and what each variant answered on the most data.
#[derive(Debug)]
pub(crate) struct Samples<'a> {
    cells: Vec<(String, &'a Cell)>,
    chosen: Vec<String>,
}

impl<'a> Samples<'a> {
    pub(crate) fn of(results: &'a Results, lang: Lang) -> Self {
        let size = results.sizes().last().copied();
        let cell = |variant: &'a Variant| {
            let select = Select { variant: &variant.name, size };
            let cell = results.cells_of(select).find(|cell| !cell.texts.is_empty())?;
            Some((lang.label(variant), cell))
        };
        let cells: Vec<(String, &Cell)> = results.experiment.variants.iter().filter_map(cell).collect();
        let chosen = chosen(results, &cells);
        Self { cells, chosen }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// Adds the text of each record, and its answers beside each other.
    pub(crate) fn write(&self, page: &mut Page<'_>) {
        let lang = page.lang;
        let reference = self.cells.iter().find(|(_, cell)| cell.variant == page.results.experiment.reference);
        for (index, id) in self.chosen.iter().enumerate() {
            let answers =
                self.cells.iter().filter_map(|(label, cell)| Some((label.as_str(), find(cell, id)?)));
            let answers: Vec<(&str, &Text)> = answers.collect();
            let Some((_, first)) = answers.first() else { continue };
            let expected = reference.and_then(|(_, cell)| find(cell, id)).map(|text| text.answer.as_str());
            let input = first.input.as_deref().filter(|input| !input.is_empty());
            let asked =
                input.map_or(first.instruction.clone(), |input| format!("{}\n{input}", first.instruction));
            let mut rows = vec![[bold(lang.pick("instruction", "指令")), lines(&asked)]];
            rows.extend(
                first
                    .reference
                    .iter()
                    .map(|text| [bold(lang.pick("reference answer", "参考答案")), lines(text)]),
            );
            let everyone = |labels: &[&str]| labels.len() == answers.len() && labels.len() > 1;
            let who = |labels: &[&str], between: &str| {
                let all = lang.pick("all variants", "全部方案");
                if everyone(labels) { all.to_owned() } else { labels.join(between) }
            };
            let answered = together(&answers);
            let beside = (2..=ABREAST).contains(&answered.len());
            if !beside {
                rows.extend(
                    answered
                        .iter()
                        .map(|(labels, answer)| [lines(&who(labels, "\n")), marked(answer, expected)]),
                );
            }
            let number = index + 1;
            let record = say!(lang, "record {number}", "记录 {number}");
            page.pairs([Column::text(record, 2), Column::text(lang.pick("text", "文本"), 7)], rows);
            if beside {
                let head =
                    |(labels, _): &(Vec<&str>, &str)| Column::text(who(labels, lang.pick(", ", "、")), 1);
                let columns = answered.iter().map(head).collect();
                let answers = answered.iter().map(|(_, answer)| marked(answer, expected)).collect();
                page.doc.table(Table { caption: String::new(), columns, rows: vec![answers] });
            }
        }
    }
}

/// Answers in the order of the variants, and who gave each.
fn together<'a>(answers: &[(&'a str, &'a Text)]) -> Vec<(Vec<&'a str>, &'a str)> {
    let mut rows: Vec<(Vec<&str>, &str)> = Vec::new();
    for (label, text) in answers {
        match rows.iter_mut().find(|(_, answer)| *answer == text.answer) {
            Some((labels, _)) => labels.push(label),
            None => rows.push((vec![label], &text.answer)),
        }
    }
    rows
}

/// Returns the records that differ between variants, then others, in the order of the file.
fn chosen(results: &Results, cells: &[(String, &Cell)]) -> Vec<String> {
    let reference =
        cells.iter().find(|(_, cell)| cell.variant == results.experiment.reference).or(cells.first());
    let Some((_, reference)) = reference else { return Vec::new() };
    let differing = |text: &&Text| {
        let id = text.key();
        let answers = cells.iter().filter(|(_, cell)| cell.variant != "base");
        answers.filter_map(|(_, cell)| find(cell, &id)).any(|other| other.answer != text.answer)
    };
    let (mut first, second): (Vec<_>, Vec<_>) = reference.texts.iter().partition(differing);
    // Some of both kinds, where there are both.
    first.truncate(RECORDS.saturating_sub(second.len().min(2)));
    first.into_iter().chain(second).take(RECORDS).map(Text::key).collect()
}

fn find<'a>(cell: &'a Cell, id: &str) -> Option<&'a Text> {
    cell.texts.iter().find(|text| text.key() == id)
}

fn bold(words: &str) -> Vec<Span> {
    vec![Span::Strong(words.to_owned())]
}

/// Splits a text into its lines, cut where it gets long.
fn lines(text: &str) -> Vec<Span> {
    let short = shortened(text);
    let mut spans = Vec::new();
    for (index, line) in short.trim_end().lines().enumerate() {
        if index > 0 {
            spans.push(Span::Break);
        }
        if !line.is_empty() {
            spans.push(Span::Text(line.to_owned()));
        }
    }
    if spans.is_empty() { vec![Span::Text("∅".to_owned())] } else { spans }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(LETTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Marks the first word of an answer that differs.
fn marked(answer: &str, expected: Option<&str>) -> Vec<Span> {
    let Some((start, end)) = expected.and_then(|expected| first_difference(answer, expected)) else {
        return lines(answer);
    };
    if start >= shortened(answer).len() && start > LETTERS {
        return lines(answer); // Where they part is not shown.
    }
    let mut spans = if answer[..start].is_empty() { Vec::new() } else { lines(&answer[..start]) };
    if answer[..start].ends_with('\n') {
        spans.push(Span::Break);
    } else if answer[..start].ends_with(' ')
        && !matches!(spans.last(), Some(Span::Text(text)) if text.ends_with(' '))
    {
        spans.push(Span::Text(" ".to_owned()));
    }
    let word = &answer[start..end];
    spans.push(Span::Mark(format!("▸{}", if word.is_empty() { "∎" } else { word })));
    let rest = shortened(&answer[end..]);
    if !rest.trim_end().is_empty() {
        if rest.starts_with('\n') {
            spans.push(Span::Break);
        }
        spans.extend(lines(rest.trim_start_matches('\n')));
    }
    spans
}

/// Returns the bytes of the first word of `answer` that is not that of `expected`; an empty range at the end of an answer that
/// ends early.
fn first_difference(answer: &str, expected: &str) -> Option<(usize, usize)> {
    if answer == expected {
        return None;
    }
    let same: usize =
        answer.chars().zip(expected.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let in_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '\'';
    let head = &answer[..same];
    let start = head.trim_end_matches(in_word).len();
    // A word is marked from its beginning only if it goes on in this answer.
    let start = if answer[same..].starts_with(in_word) || same < answer.len() { start } else { same };
    // Space is not seen: the word behind it is marked.
    let start = answer.len() - answer[start..].trim_start_matches(' ').len();
    let tail = &answer[start..];
    let word = tail.len() - tail.trim_start_matches(in_word).len();
    let end = start + if word > 0 { word } else { tail.chars().next().map_or(0, char::len_utf8) };
    Some((start, end.max(same.min(answer.len()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_that_differs_is_marked_whole() {
        let word = |answer: &str, expected: &str| {
            first_difference(answer, expected).map(|(start, end)| answer[start..end].to_owned())
        };
        assert_eq!(word("a cat sat", "a car sat").as_deref(), Some("cat"));
        assert_eq!(word("a cat", "a cat sat").as_deref(), Some(""));
        assert_eq!(word("猫坐下", "猫站着").as_deref(), Some("坐"));
        assert_eq!(word("same", "same"), None);
        assert_eq!(word("a  b", "a c").as_deref(), Some("b"));
        assert_eq!(word("", "x").as_deref(), Some(""));
    }

    #[test]
    fn marking_keeps_every_letter() {
        let spans = marked("one two\nthree four", Some("one two\nthree five"));
        let text: String = spans.iter().map(Span::text).collect();
        assert_eq!(text, "one two\nthree ▸four");
    }
}
