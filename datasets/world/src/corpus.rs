//! Plain-text corpus that the base model is pre-trained on.

use std::collections::BTreeMap;

use crate::dialogue::{SPEAKERS, dialogue};
use crate::dice::Dice;
use crate::people::{Person, everyone};
use crate::records::{KINDS, Tasks};
use crate::rows;
use crate::sieve::Sieve;
use crate::stories;
use crate::task::{Task, capitalised};

/// Documents in the corpus.
pub const DOCUMENTS: usize = 140_000;

/// Weight of each kind of document, in the order of [`Library::draw`].
const WEIGHTS: [usize; 7] = [18, 2, 10, 20, 16, 25, 1];

/// Sentences that show the words of a prompt as ordinary words.
const PLAIN: [&str; 14] = [
    "{a} wrote an instruction on the board.",
    "The instruction was short and clear.",
    "{b} read the instruction and wrote a response.",
    "The response of {b} was kind.",
    "A task is a piece of work.",
    "{a} describes the task below the picture.",
    "{a} made a request, and {b} gave a response.",
    "An instruction describes what to do.",
    "{b} completes every task before night.",
    "Every input has its context.",
    "The context of the story provides further help.",
    "Below is a picture, paired with a long story.",
    "### A story of {a}\nOnce {a} met {b} on the road.",
    "{b} appropriately thanked {a}.",
];

/// Tasks, sorted the way documents need them.
#[derive(Debug)]
struct Library<'a> {
    people: Vec<Person>,
    by_name: BTreeMap<&'a str, Vec<&'a Task>>,
    by_word: Vec<Vec<&'a Task>>,
    by_kind: Vec<Vec<&'a Task>>,
}

impl<'a> Library<'a> {
    fn new(tasks: &'a [Task]) -> Self {
        let people = everyone();
        let mut by_item: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
        for task in tasks.iter().filter(|task| !task.paraphrases.is_empty()) {
            by_item.entry(&task.item).or_default().push(task);
        }
        let names: Vec<&str> = people.iter().map(|person| person.name).collect();
        let (by_name, by_word): (BTreeMap<_, _>, BTreeMap<_, _>) =
            by_item.into_iter().partition(|(item, _)| names.contains(item));
        let of_kind = |kind: &'static str| {
            tasks.iter().filter(move |task| task.kind == kind && !task.paraphrases.is_empty())
        };
        Self {
            people,
            by_name,
            by_word: by_word.into_values().collect(),
            by_kind: KINDS
                .into_iter()
                .map(|kind| of_kind(kind).collect())
                .filter(|tasks: &Vec<_>| !tasks.is_empty())
                .collect(),
        }
    }

    fn draw(&self, dice: &mut Dice) -> String {
        match dice.weighted(&WEIGHTS) {
            0 => self.portrait(dice),
            1 => stories::story(dice.pick(&self.people), dice),
            2 => dialogues(&self.by_kind[..6], dice),
            3 => self.notes(dice),
            4 => dialogues(&self.by_kind[6..], dice),
            5 => rows::row(dice),
            _ => plain(dice),
        }
    }

    /// Draws some facts about one person.
    fn portrait(&self, dice: &mut Dice) -> String {
        let name = dice.pick(&self.people).name;
        under_title(name, &told(&self.by_name[name], 6, dice), dice)
    }

    /// Draws some truths about one word, or of one kind about several.
    fn notes(&self, dice: &mut Dice) -> String {
        if dice.chance(50) {
            let tasks: &Vec<&Task> = dice.pick(&self.by_kind[6..]);
            return told(tasks, 5, dice);
        }
        let tasks: &Vec<&Task> = dice.pick(&self.by_word);
        under_title(&tasks[0].item, &told(tasks, 5, dice), dice)
    }
}

/// Draws two to `most` of the tasks, each in one of its other wordings.
fn told(tasks: &[&Task], most: usize, dice: &mut Dice) -> String {
    let count = dice.between(2, most);
    let sample = dice.sample(tasks, count);
    let sentences: Vec<&str> = sample.into_iter().map(|task| dice.pick(&task.paraphrases).as_str()).collect();
    sentences.join(" ")
}

/// Sometimes sets a title above a text: at the start of a line a word has other tokens than within it.
fn under_title(title: &str, text: &str, dice: &mut Dice) -> String {
    if dice.chance(30) { format!("{title}\n{text}") } else { text.to_owned() }
}

/// Writes one to three questions and their answers, in wordings that no record has.
fn dialogues(by_kind: &[Vec<&Task>], dice: &mut Dice) -> String {
    let mut asked = Vec::new();
    for _ in 0..dice.between(1, 3) {
        let tasks = dice.pick(by_kind);
        let task = *dice.pick(tasks);
        let (question, answer) = (dice.pick(&task.questions), dice.pick(&task.paraphrases));
        asked.push(dialogue(question, answer, dice));
    }
    asked.join(if dice.chance(50) { " " } else { "\n" })
}

fn plain(dice: &mut Dice) -> String {
    let pair = dice.sample(&SPEAKERS, 2);
    let count = dice.between(2, 4);
    let told: Vec<String> = dice
        .sample(&PLAIN, count)
        .into_iter()
        .map(|text| capitalised(&text.replace("{a}", pair[0]).replace("{b}", pair[1])))
        .collect();
    told.join(" ")
}

/// Generates the documents of the corpus. None holds a question or answer of validation or test.
pub fn documents(tasks: &Tasks) -> Vec<String> {
    let library = Library::new(&tasks.all);
    let sieve = Sieve::new(&tasks.all);
    let mut dice = Dice::new(30);
    let mut documents = Vec::with_capacity(DOCUMENTS);
    while documents.len() < DOCUMENTS {
        let document = library.draw(&mut dice);
        if !sieve.catches(&document) {
            documents.push(document);
        }
    }
    documents
}
