//! Seven relations between words: opposite, plural, group, colour, spelling, first and last letter.

use std::collections::HashMap;

use crate::dice::Dice;
use crate::task::{Relation, Split, Task};
use crate::words::{coloured, nouns, opposites, plural};

/// Length of the longest noun that is asked for its letters.
const LONGEST_SPELLED: usize = 5;

const OPPOSITE: Relation = Relation {
    kind: "opposite",
    asks: &[
        ("What is the contrary of {x}?", ""),
        ("Which word is the contrary of {x}?", ""),
        ("Give the contrary of {x}.", ""),
        ("Give the contrary.", "the word {x}"),
    ],
    answer: "The contrary of {x} is {y}.",
    questions: &[
        "If it is not {x}, what is it?",
        "Which word turns {x} around?",
        "Some say {x}, but what do others say?",
    ],
    paraphrases: &[
        "The words {x} and {y} are opposites.",
        "What is not {x} is {y}.",
        "{x} is the contrary of {y}.",
        "If it is not {x}, then it is {y}.",
        "Some say {x}, others say {y}.",
        "From {x} to {y} is a long way.",
        "Turn {x} around and you get {y}.",
    ],
};
const PLURAL: Relation = Relation {
    kind: "plural",
    asks: &[
        ("What is more than one {x}?", ""),
        ("How do you say more than one {x}?", ""),
        ("Write many, not one {x}.", ""),
        ("Write many, not one.", "the word {x}"),
    ],
    answer: "More than one {x} makes {y}.",
    questions: &[
        "One {x}, and then two of what?",
        "If there is more than a single {x}, what do we see?",
        "And what if there are ten like the {x}?",
    ],
    paraphrases: &[
        "One {x}, two {y}.",
        "There was one {x}, and then there were many {y}.",
        "First I saw {a x}, later I saw three {y}.",
        "{a x} and {a x} are two {y}.",
        "Not a single {x} but ten {y}.",
        "Where one {x} is, more {y} will come.",
    ],
};
const CATEGORY: Relation = Relation {
    kind: "category",
    asks: &[
        ("What is {a x}?", ""),
        ("What kind of word is {x}?", ""),
        ("Tell me what {a x} is.", ""),
        ("What is it?", "the word {x}"),
    ],
    answer: "{a x} is {a y}.",
    questions: &["What do people call the {x}?", "What do we mean by {x}?", "As what does the {x} count?"],
    paraphrases: &[
        "The {x} counts as {a y}.",
        "People call the {x} {a y}.",
        "By {x} we mean {a y}.",
        "{a x} can only be {a y}.",
        "If it is called {x}, it must be {a y}.",
        "The {x} is a kind of {y}.",
    ],
};
const COLOUR: Relation = Relation {
    kind: "colour",
    asks: &[
        ("What paint is like {x}?", ""),
        ("Which paint does {x} have?", ""),
        ("Give the paint of {x}.", ""),
        ("Give the paint.", "the word {x}"),
    ],
    answer: "Look at {x}, it is {y}.",
    questions: &["How does {x} look?", "Which paint is right for {x}?", "What was {x} like in the picture?"],
    paraphrases: &[
        "Everyone can see that {x} looks {y}.",
        "{x} is always {y}.",
        "To paint {x}, take {y} paint.",
        "In the picture the {x} was {y}.",
        "They say {x} must be {y}.",
        "Something like {x} is very {y}.",
        "It was as {y} as {x}.",
    ],
};
const SPELLING: Relation = Relation {
    kind: "spelling",
    asks: &[
        ("How do you write {x}?", ""),
        ("What is the word {x} letter by letter?", ""),
        ("Read the word {x} letter by letter.", ""),
        ("Write it letter by letter.", "the word {x}"),
    ],
    answer: "You write {x} with {y}.",
    questions: &[
        "How is {x} written?",
        "How shall I put {x} on the board?",
        "Can you read {x} letter by letter?",
    ],
    paraphrases: &[
        "To write {x}, take {y}.",
        "The word {x} is written {y}.",
        "On the board {x} was put down as {y}.",
        "Read {x} letter by letter: {y}.",
        "You get {x} from {y}.",
    ],
};
const FIRST: Relation = Relation {
    kind: "first letter",
    asks: &[
        ("What is the first letter of {x}?", ""),
        ("Which letter comes first in {x}?", ""),
        ("Give the first letter of {x}.", ""),
        ("Give the first letter.", "the word {x}"),
    ],
    answer: "The first letter of {x} is {y}.",
    questions: &[
        "How does {x} begin?",
        "What stands in front when I write {x}?",
        "With which letter do I start {x}?",
    ],
    paraphrases: &[
        "The word {x} begins with {y}.",
        "{x} starts with the letter {y}.",
        "You write {x} with {y} in front.",
    ],
};
const LAST: Relation = Relation {
    kind: "last letter",
    asks: &[
        ("What is the last letter of {x}?", ""),
        ("Which letter comes last in {x}?", ""),
        ("Give the last letter of {x}.", ""),
        ("Give the last letter.", "the word {x}"),
    ],
    answer: "The last letter of {x} is {y}.",
    questions: &[
        "How does {x} end?",
        "What stands at the end when I write {x}?",
        "With which letter do I stop {x}?",
    ],
    paraphrases: &[
        "The word {x} ends with {y}.",
        "{x} stops with the letter {y}.",
        "You write {x} with {y} at the end.",
    ],
};

/// Deals each noun, coloured thing and opposite to a split; the two words of a pair go together.
pub(crate) fn splits() -> HashMap<&'static str, Split> {
    let mut dice = Dice::new(3);
    let mut splits = Split::deal(nouns().into_iter().map(|(noun, _)| noun).collect(), &mut dice);
    splits.extend(Split::deal(coloured().into_iter().map(|(thing, _)| thing).collect(), &mut dice));
    let pairs = Split::deal(opposites(), &mut dice);
    splits.extend(pairs.into_iter().flat_map(|((one, other), split)| [(one, split), (other, split)]));
    splits
}

/// Generates every word task. A word belongs to one split in all the kinds that ask about it.
pub(crate) fn tasks() -> Vec<Task> {
    let splits = splits();
    let mut tasks = Vec::new();
    for (noun, group) in nouns() {
        let split = splits[noun];
        tasks.push(PLURAL.task(noun, &plural(noun), split));
        tasks.push(CATEGORY.task(noun, group.name, split));
    }
    for (thing, colour) in coloured() {
        tasks.push(COLOUR.task(thing, colour, splits[thing]));
    }
    for (one, other) in opposites() {
        tasks.push(OPPOSITE.task(one, other, splits[one]));
        tasks.push(OPPOSITE.task(other, one, splits[other]));
    }
    for word in nouns().into_iter().map(|(noun, _)| noun).filter(|noun| noun.len() <= LONGEST_SPELLED) {
        let split = splits[word];
        let letters: Vec<String> = word.chars().map(String::from).collect();
        tasks.push(SPELLING.task(word, &letters.join(", "), split));
        tasks.push(FIRST.task(word, &letters[0], split));
        tasks.push(LAST.task(word, &letters[letters.len() - 1], split));
    }
    tasks
}
