//! Alpaca-format records, drawn from the tasks of one split.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::task::{Split, Task};
use crate::tasks::{facts, lists, words};

/// Kinds of task, in the order of reports.
pub const KINDS: [&str; 16] = [
    "animal",
    "home",
    "food",
    "hat",
    "thing",
    "friend",
    "opposite",
    "plural",
    "category",
    "colour",
    "spelling",
    "first letter",
    "last letter",
    "position",
    "count",
    "repeat",
];

/// Alpaca record with the kind of its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Instruction.
    pub instruction: String,
    /// Input; may be empty.
    pub input: String,
    /// Right answer.
    pub output: String,
    /// One of [`KINDS`].
    pub kind: String,
}

/// Returns the number of records of each kind in a split.
const fn per_kind(split: Split) -> usize {
    match split {
        Split::Train => 88,
        Split::Validation => 19,
        Split::Test => 25,
    }
}

/// Tasks that records are drawn from.
#[derive(Debug, Clone)]
pub struct Tasks {
    /// Facts, word tasks and list tasks of all splits.
    pub all: Vec<Task>,
}

impl Tasks {
    /// Generates the tasks of the fixed seed.
    pub fn new() -> Self {
        let mut all = facts::tasks();
        all.extend(words::tasks());
        for (stream, split) in (10..).zip(Split::ALL) {
            all.extend(lists::tasks(split, per_kind(split), &mut Dice::new(stream)));
        }
        Self { all }
    }

    /// Draws the records of one split: of each kind the same number, no question twice, every item used before one is
    /// used again.
    pub fn records(&self, split: Split) -> Vec<Record> {
        let mut dice = Dice::new(20 + split as u64);
        let mut records = Vec::new();
        for kind in KINDS {
            let mut tasks: Vec<&Task> =
                self.all.iter().filter(|task| task.kind == kind && task.split == split).collect();
            dice.shuffle(&mut tasks);
            let mut seen = HashSet::new();
            // A question form may be drawn twice for an item, so pass over the items more often than there are forms.
            for task in std::iter::repeat_n(&tasks, 20).flatten() {
                let ask = dice.pick(&task.asks);
                if seen.len() < per_kind(split) && seen.insert(ask) {
                    records.push(Record {
                        instruction: ask.instruction.clone(),
                        input: ask.input.clone(),
                        output: task.answer.clone(),
                        kind: kind.to_owned(),
                    });
                }
            }
        }
        dice.shuffle(&mut records);
        records
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}
