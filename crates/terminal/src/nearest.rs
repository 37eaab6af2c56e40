//! Words that were meant by words that are not known.

use strsim::osa_distance;

/// Returns the name that is nearest to a mistyped `word`, in insertions, deletions, replacements and swaps of neighbours; none where
/// half of the word would have to change.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = word.chars().count().div_ceil(2);
    let near = names.into_iter().map(|name| (osa_distance(word, name), name));
    near.filter(|&(distance, _)| distance < most).min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_name_and_another_word_finds_none() {
        let names = ["learning_rate", "lora_r", "lora_alpha", "seed", "optim"];
        for (word, expected) in [
            ("lerning_rate", Some("learning_rate")),
            ("learning_rtae", Some("learning_rate")),
            ("lora_rank", Some("lora_r")),
            ("optimizer", Some("optim")),
            ("sede", Some("seed")),
            ("wings", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }
}
