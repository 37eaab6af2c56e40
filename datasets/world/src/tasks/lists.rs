//! Three things to do with a list or a phrase at hand: name the word at a position, count the words, repeat.

use crate::dice::Dice;
use crate::task::{Ask, Split, Task};
use crate::tasks::words::splits;
use crate::words::{ANIMALS, COLOURS, OBJECTS, PLACES, nouns};

pub(crate) const ORDINALS: [&str; 4] = ["first", "second", "third", "fourth"];
pub(crate) const NUMBERS: [&str; 7] = ["no", "one", "two", "three", "four", "five", "six"];

/// Draws a list of different words.
pub(crate) fn list(words: &[&'static str], low: usize, high: usize, dice: &mut Dice) -> Vec<&'static str> {
    let count = dice.between(low, high);
    dice.sample(words, count).into_iter().copied().collect()
}

/// Draws a phrase such as "red lamp of the fox in the barn".
pub(crate) fn phrase(may_use: impl Fn(&str) -> bool, dice: &mut Dice) -> String {
    let mut noun = |words: Vec<&'static str>| loop {
        let word = *dice.pick(&words);
        if may_use(word) {
            break word;
        }
    };
    let object = noun(OBJECTS.words().collect());
    let animal = noun(ANIMALS.words().collect());
    let place = noun(PLACES.first(20));
    format!("{} {object} of the {animal} in the {place}", dice.pick(&COLOURS))
}

fn ask(instruction: &str, input: &str) -> Ask {
    Ask { instruction: instruction.to_owned(), input: input.to_owned() }
}

fn position(words: &[&'static str], split: Split, dice: &mut Dice) -> Task {
    let listed = words.join(", ");
    let (ordinal, word) = if dice.chance(20) {
        ("last", words[words.len() - 1])
    } else {
        let place = dice.below(words.len());
        (ORDINALS[place], words[place])
    };
    Task {
        kind: "position",
        split,
        asks: vec![
            ask(&format!("Give the {ordinal} word."), &format!("the words {listed}")),
            ask(&format!("Which word is {ordinal}?"), &format!("the words {listed}")),
            ask(&format!("Which word is {ordinal} in the row {listed}?"), ""),
        ],
        answer: format!("The {ordinal} word is {word}."),
        questions: Vec::new(),
        paraphrases: Vec::new(),
        item: listed,
    }
}

fn count(words: &[&'static str], split: Split) -> Task {
    let listed = words.join(", ");
    Task {
        kind: "count",
        split,
        asks: vec![
            ask("Count the words.", &format!("the words {listed}")),
            ask("How many words are there?", &format!("the words {listed}")),
            ask(&format!("How many words are in the row {listed}?"), ""),
        ],
        answer: format!("There are {} words.", NUMBERS[words.len()]),
        questions: Vec::new(),
        paraphrases: Vec::new(),
        item: listed,
    }
}

fn repeat(phrase: String, split: Split) -> Task {
    Task {
        kind: "repeat",
        split,
        asks: vec![
            ask("Repeat the input.", &phrase),
            ask("Say the same again.", &phrase),
            ask(&format!("Repeat these words: {phrase}."), ""),
        ],
        answer: format!("You said: {phrase}."),
        questions: Vec::new(),
        paraphrases: Vec::new(),
        item: phrase,
    }
}

/// Generates `count` tasks of each kind for one split, of words of that split only.
pub(crate) fn tasks(split: Split, per_kind: usize, dice: &mut Dice) -> Vec<Task> {
    let splits = splits();
    let words: Vec<&'static str> =
        nouns().into_iter().map(|(noun, _)| noun).filter(|noun| splits[noun] == split).collect();
    let mut tasks: Vec<Task> = Vec::new();
    while tasks.len() < 3 * per_kind {
        let task = match tasks.len() % 3 {
            0 => position(&list(&words, 3, 4, dice), split, dice),
            1 => count(&list(&words, 2, 6, dice), split),
            _ => repeat(phrase(|word| splits[word] == split, dice), split),
        };
        if tasks.iter().all(|other| other.item != task.item) {
            tasks.push(task);
        }
    }
    tasks
}
