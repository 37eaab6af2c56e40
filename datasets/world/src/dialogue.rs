//! Questions and answers between speakers.

use crate::dice::Dice;
use crate::task::capitalised;

/// Speakers of dialogues; never a person with facts, so that a name always stands for its owner.
pub(crate) const SPEAKERS: [&str; 10] = [
    "the teacher",
    "the child",
    "the visitor",
    "the miller",
    "the baker",
    "the singer",
    "the guard",
    "the pupil",
    "the traveller",
    "the old man",
];

/// Writes a question and its answer as a dialogue.
pub(crate) fn dialogue(question: &str, answer: &str, dice: &mut Dice) -> String {
    let pair = dice.sample(&SPEAKERS, 2);
    let (a, b) = (pair[0], pair[1]);
    let body = answer.trim_end_matches('.');
    let spoken = question.strip_suffix('.').map_or_else(|| question.to_owned(), |order| format!("{order},"));
    match dice.below(4) {
        0 => format!("\"{spoken}\" said {a}. \"{body},\" said {b}."),
        1 => format!("\"{spoken}\" asked {a}. \"{body},\" {b} answered."),
        2 => format!("So {a} asked: {question} And {b} answered: {answer}"),
        _ => format!("{} wanted to know: {question} {} knew: {answer}", capitalised(a), capitalised(b)),
    }
}
