//! Texts that show whether two tokenizers try their merges in the same order.

use std::collections::BTreeSet;

use llama_tokenizer::{LlamaTokenizer, TokenizerError};

/// Places at which two orders differ that are looked at: a few faults, not another vocabulary.
const PLACES: usize = 16;
/// Merges between two places that are held against each.
const BETWEEN: usize = 4096;

/// Finds the tokens that `expected` and `actual` merge in another order, and writes each before and behind those it competes
/// with, so that they share letters: `re` and `ed` make `red`. Nothing for tokenizers of the same order.
pub(crate) fn competing_texts(
    expected: &LlamaTokenizer,
    actual: &LlamaTokenizer,
) -> Result<BTreeSet<String>, TokenizerError> {
    let (ours, theirs) = (expected.merged_ids()?, actual.merged_ids()?);
    let differs = |place: &usize| ours.get(*place) != theirs.get(*place);
    let places: Vec<usize> = (0..ours.len().max(theirs.len())).filter(differs).collect();
    let (Some(&first), Some(&last)) = (places.first(), places.last()) else { return Ok(BTreeSet::new()) };
    let spelt = |ids: &[i64]| ids.iter().map(|&id| spelling(expected, id)).collect::<Result<Vec<_>, _>>();
    let rivals = spelt(&ours[first.min(ours.len())..(last + 1).min(first + BETWEEN).min(ours.len())])?;
    let moved: Vec<i64> = places.iter().take(PLACES).filter_map(|&place| ours.get(place).copied()).collect();
    let mut texts = BTreeSet::new();
    for token in spelt(&moved)? {
        for rival in &rivals {
            overlap(&token, rival, &mut texts);
            overlap(rival, &token, &mut texts);
        }
    }
    Ok(texts)
}

/// Returns what a token stands for within a text.
fn spelling(tokenizer: &LlamaTokenizer, id: i64) -> Result<String, TokenizerError> {
    match tokenizer.token(id) {
        Some(token) if token.contains('\u{2581}') => Ok(token.replace('\u{2581}', " ")),
        _ => tokenizer.decode(&[id], false),
    }
}

/// Joins two texts at every end of the one that is a beginning of the other.
fn overlap(one: &str, other: &str, texts: &mut BTreeSet<String>) {
    for (at, _) in one.char_indices().skip(1) {
        if let Some(rest) = other.strip_prefix(&one[at..]) {
            texts.insert(format!("{one}{rest}"));
            texts.insert(format!("0{one}{rest}0"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_share_letters_are_joined_at_them() {
        let mut texts = BTreeSet::new();
        overlap("re", "ed", &mut texts);
        overlap("ed", "re", &mut texts);
        assert_eq!(texts.into_iter().collect::<Vec<_>>(), ["0red0", "red"]);
    }
}
