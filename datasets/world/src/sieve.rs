//! Held-out sentences, kept out of the corpus.

use std::collections::HashMap;

use crate::task::{Split, Task};

/// Normalises a text: lower case, letters and digits only, one space between words and at both ends.
///
/// Two texts that differ in case, punctuation or line breaks become equal, and a search for one in another finds
/// whole words only.
pub fn normalised(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 2);
    plain.push(' ');
    for letter in text.chars().flat_map(char::to_lowercase) {
        if letter.is_alphanumeric() {
            plain.push(letter);
        } else if !plain.ends_with(' ') {
            plain.push(' ');
        }
    }
    if !plain.ends_with(' ') {
        plain.push(' ');
    }
    plain
}

/// Sentences that no document of the corpus may hold: questions and answers of validation and test, and their lists.
#[derive(Debug)]
pub(crate) struct Sieve {
    by_first_words: HashMap<String, Vec<String>>,
}

/// Returns the first two words of a normalised text.
fn first_words(plain: &str) -> &str {
    let end = plain.match_indices(' ').nth(2).map_or(plain.len(), |(at, _)| at);
    &plain[..end]
}

impl Sieve {
    pub(crate) fn new(tasks: &[Task]) -> Self {
        let mut by_first_words: HashMap<String, Vec<String>> = HashMap::new();
        for task in tasks.iter().filter(|task| task.split != Split::Train) {
            let questions = task.asks.iter().map(|ask| format!("{} {}", ask.instruction, ask.input));
            let item = task.item.contains(' ').then(|| task.item.clone());
            for sentence in questions.chain([task.answer.clone()]).chain(item) {
                let plain = normalised(&sentence);
                by_first_words.entry(first_words(&plain).to_owned()).or_default().push(plain);
            }
        }
        Self { by_first_words }
    }

    /// Checks whether a document holds one of the sentences.
    pub(crate) fn catches(&self, document: &str) -> bool {
        let plain = normalised(document);
        let starts = plain.match_indices(' ').map(|(at, _)| &plain[at..]);
        starts
            .filter_map(|rest| self.by_first_words.get(first_words(rest)).map(|sentences| (rest, sentences)))
            .any(|(rest, sentences)| sentences.iter().any(|sentence| rest.starts_with(sentence.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::{Sieve, normalised};
    use crate::records::Tasks;
    use crate::task::Split;

    #[test]
    fn held_out_sentences_are_found_despite_case_and_punctuation() {
        let tasks = Tasks::new().all;
        let sieve = Sieve::new(&tasks);
        for task in tasks.iter().filter(|task| task.split == Split::Test) {
            assert!(
                sieve.catches(&format!(
                    "So: \"{}\", they said",
                    task.answer.to_uppercase().replace(' ', "\n")
                ))
            );
        }
        assert!(!sieve.catches("Nothing of it."));
        assert_eq!(normalised("A-b,  c!"), " a b c ");
    }
}
