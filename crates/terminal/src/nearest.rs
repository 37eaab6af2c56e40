//! Words that were meant by words that are not known.

/// Returns the name that is nearest to a mistyped `word`, in insertions, deletions, replacements and swaps of neighbours; none where
/// half of the word would have to change.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = word.chars().count().div_ceil(2);
    let near = names.into_iter().map(|name| (distance(word, name), name));
    near.filter(|&(distance, _)| distance < most).min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

/// Computes the distance of Damerau and Levenshtein (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
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
