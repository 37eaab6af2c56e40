//! Documents about rows of cards and about repeated phrases, from which a model learns to look back and to copy.
//!
//! The records speak of lists and words where these documents speak of rows and cards.

use crate::dialogue::{SPEAKERS, dialogue};
use crate::dice::Dice;
use crate::task::capitalised;
use crate::tasks::lists::{NUMBERS, ORDINALS, list, phrase};
use crate::words::nouns;

/// Writes one document.
pub(crate) fn row(dice: &mut Dice) -> String {
    let words: Vec<&'static str> = nouns().into_iter().map(|(noun, _)| noun).collect();
    let pair = dice.sample(&SPEAKERS, 2);
    let (a, b) = (capitalised(pair[0]), pair[1]);
    match dice.below(10) {
        0..=2 => {
            let row = list(&words, 3, 4, dice);
            let listed = row.join(", ");
            let intro = match dice.below(4) {
                0 => format!("Here is a row of cards: {listed}."),
                1 => format!("{a} laid out the cards {listed}."),
                2 => format!("{a} wrote a row of cards:\n{listed}\n"),
                _ => format!("{listed}\n"),
            };
            let mut said: Vec<String> = places(&row);
            dice.shuffle(&mut said);
            said.truncate(dice.between(1, 3));
            join(&intro, &said.join(" "))
        }
        3 => {
            let row = list(&words, 3, 4, dice);
            let place = dice.below(row.len() + 1);
            let ordinal = if place == row.len() { "last" } else { ORDINALS[place] };
            let question = format!("Which card is {ordinal} in the row {}?", row.join(", "));
            dialogue(&question, &places(&row)[place], dice)
        }
        4 => {
            let row = list(&words, 2, 6, dice);
            let (listed, number) = (row.join(", "), NUMBERS[row.len()]);
            match dice.below(4) {
                0 => format!("{a} counted {listed}. That makes {number} cards."),
                1 => format!("{listed}\nThis is a row of {number} cards."),
                2 => format!("There are {number} cards in the row {listed}."),
                _ => dialogue(
                    &format!("How many cards are in the row {listed}?"),
                    &format!("There are {number} cards."),
                    dice,
                ),
            }
        }
        5 => {
            let row = list(&words, 3, 6, dice);
            let at = dice.below(row.len() - 1);
            let listed = row.join(", ");
            match dice.below(2) {
                0 => format!("In the row {listed} the card after {} is {}.", row[at], row[at + 1]),
                _ => format!(
                    "{a} took {} out of the row {listed}. The card after it is {}.",
                    row[at],
                    row[at + 1]
                ),
            }
        }
        6 | 7 => echo(&list(&words, 3, 7, dice).join(" "), &a, b, dice),
        _ => echo(&phrase(|_| true, dice), &a, b, dice),
    }
}

/// Lists what is true of each place of a row, and of the last.
fn places(row: &[&str]) -> Vec<String> {
    let ordinals = ORDINALS[..row.len()].iter().zip(row);
    let mut said: Vec<String> =
        ordinals.map(|(ordinal, word)| format!("The {ordinal} card is {word}.")).collect();
    said.push(format!("The last card is {}.", row[row.len() - 1]));
    said
}

fn echo(text: &str, a: &str, b: &str, dice: &mut Dice) -> String {
    match dice.below(5) {
        0 => format!("{a} read: {text}. Then {b} read it again: {text}."),
        1 => format!("{text}\n{text}"),
        2 => format!("\"Now {text},\" sang {b}. {a} sang it too: {text}."),
        3 => format!("{a} wrote on the board:\n{text}\nThen {b} copied it: {text}."),
        _ => format!("{a} heard {text}. So it was {text}."),
    }
}

fn join(intro: &str, rest: &str) -> String {
    let gap = if intro.ends_with('\n') { "" } else { " " };
    format!("{intro}{gap}{rest}")
}
