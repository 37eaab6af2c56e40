//! Tasks: a question, its one right answer, and the same truth in other words.

use std::collections::HashMap;

use crate::dice::Dice;
use crate::words::with_article;

/// Split that a task belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Shown to the model in fine-tuning.
    Train,
    /// Looked at while the data are developed.
    Validation,
    /// Scored once.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Returns the file name, without its extension.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// Deals items to the splits at random: 60 % train, 15 % validation, 25 % test.
    pub(crate) fn deal<T: std::hash::Hash + Eq>(mut items: Vec<T>, dice: &mut Dice) -> HashMap<T, Self> {
        dice.shuffle(&mut items);
        let count = items.len();
        let side = |index: usize| match index * 100 / count {
            0..60 => Self::Train,
            60..75 => Self::Validation,
            _ => Self::Test,
        };
        items.into_iter().enumerate().map(|(index, item)| (item, side(index))).collect()
    }
}

/// Instruction with its input, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ask {
    /// Instruction.
    pub instruction: String,
    /// Input.
    pub input: String,
}

/// Question about the world, in all its wordings.
#[derive(Debug, Clone)]
pub struct Task {
    /// Kind that accuracy is reported by.
    pub kind: &'static str,
    /// Subject of the question: a name, a word, a list. Items never cross splits.
    pub item: String,
    /// Split that the item was dealt to.
    pub split: Split,
    /// Wordings of the question.
    pub asks: Vec<Ask>,
    /// Answer, one sentence.
    pub answer: String,
    /// Questions that the corpus puts instead, answered there by a paraphrase.
    pub questions: Vec<String>,
    /// Sentences of the same truth that differ from the answer; the corpus may hold these for every item.
    pub paraphrases: Vec<String>,
}

/// Relation between an item and a value, as templates.
///
/// `{x}` stands for the item and `{y}` for the value; `{a x}` and `{a y}` for the same with an indefinite article.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relation {
    pub(crate) kind: &'static str,
    pub(crate) asks: &'static [(&'static str, &'static str)],
    pub(crate) answer: &'static str,
    pub(crate) questions: &'static [&'static str],
    pub(crate) paraphrases: &'static [&'static str],
}

impl Relation {
    /// Makes the task that asks for the value of `item`.
    pub(crate) fn task(&self, item: &str, value: &str, split: Split) -> Task {
        let fill = |template: &&str| {
            template
                .replace("{x}", item)
                .replace("{y}", value)
                .replace("{a x}", &with_article(item))
                .replace("{a y}", &with_article(value))
        };
        let ask =
            |(instruction, input): &(&str, &str)| Ask { instruction: fill(instruction), input: fill(input) };
        Task {
            kind: self.kind,
            item: item.to_owned(),
            split,
            asks: self.asks.iter().map(ask).collect(),
            answer: capitalised(&fill(&self.answer)),
            questions: self.questions.iter().map(|template| capitalised(&fill(template))).collect(),
            paraphrases: self.paraphrases.iter().map(|template| capitalised(&fill(template))).collect(),
        }
    }
}

/// Returns the text with its first letter in upper case.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
