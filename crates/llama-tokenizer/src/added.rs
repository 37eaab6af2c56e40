//! Tokens that other files add to a vocabulary.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::beside::AddedToken;
use crate::sentencepiece::{SentencePieceModel, piece_type};

/// Puts `tokens` into the contents of a `tokenizer.json` that lacks them: each at its own id where that is free, and
/// else behind all others. Returns in words what contradicts the file.
pub(crate) fn complete(json: &mut Value, tokens: &[AddedToken]) -> Vec<String> {
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    let by_name = json["model"]["vocab"].as_object().into_iter().flatten();
    known.extend(by_name.filter_map(|(token, id)| Some((token.clone(), id.as_u64()?))));
    let listed = json["added_tokens"].as_array().cloned().unwrap_or_default();
    let listed: Vec<(String, u64)> = listed
        .iter()
        .filter_map(|token| Some((token["content"].as_str()?.to_owned(), token["id"].as_u64()?)))
        .collect();
    known.extend(listed.iter().cloned());
    let mut notes = Vec::new();
    for token in tokens {
        let stated = token.id.map(u64::from);
        let free = known.values().max().map_or(0, |last| last + 1);
        let taken = |id: &u64| known.values().any(|known| known == id);
        let id = known.get(&token.content).copied();
        let id = id.or(stated.filter(|id| !taken(id))).unwrap_or(free);
        if let Some(stated) = stated.filter(|&stated| stated != id) {
            let content = &token.content;
            notes.push(format!("token `{content}` is said to be {stated}, and is {id} in tokenizer.json"));
        }
        if listed.iter().any(|(content, _)| *content == token.content) {
            continue;
        }
        known.insert(token.content.clone(), id);
        if let Some(vocab) = json["model"]["vocab"].as_object_mut() {
            vocab.insert(token.content.clone(), id.into());
        }
        if let (Some(list), Ok(id)) = (json["added_tokens"].as_array_mut(), u32::try_from(id)) {
            list.push(token.to_json(id));
        }
    }
    notes
}

/// Gives pieces the names and types that `tokens` state for their ids: places that a model was trained with for later use.
/// Returns the tokens that are not among the pieces, to be looked for in the text as it is.
pub(crate) fn rename(model: &mut SentencePieceModel, tokens: &[AddedToken]) -> Vec<AddedToken> {
    let mut left = Vec::new();
    for token in tokens {
        let place = model.pieces.iter().position(|piece| piece.text == token.content);
        let place = place.or(token.id.map(|id| id as usize));
        match place.and_then(|place| model.pieces.get_mut(place)) {
            Some(piece) => {
                piece.text.clone_from(&token.content);
                if piece_type::is_special(piece.kind) != Some(true) {
                    piece.kind = if token.special { piece_type::CONTROL } else { piece_type::USER_DEFINED };
                }
            }
            None => left.push(AddedToken { normalized: false, ..token.clone() }),
        }
    }
    left
}
