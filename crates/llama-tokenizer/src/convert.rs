//! A SentencePiece BPE as a `tokenizers` BPE with byte fallback.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::TokenizerError;
use crate::sentencepiece::{SentencePieceModel, piece_type};

/// The word boundary of SentencePiece, which stands for a space.
pub(crate) const BOUNDARY: &str = "\u{2581}";

/// Where a text gets the space that makes its first word like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpacePrefix {
    /// Before every text between special tokens (`legacy` of transformers; llama.cpp, SentencePiece).
    Every,
    /// Before the first, unless it begins with a space.
    First,
    /// Nowhere.
    None,
}

/// Makes the contents of a `tokenizer.json` with the ids of `model`.
///
/// SentencePiece stores no merges: it merges the neighbours whose joint piece has the highest score. Every way to cut a
/// piece into two pieces is therefore a merge, ranked by the score of the whole. Control tokens and the unknown one are
/// found in a text, as transformers' `LlamaTokenizer` has it; SentencePiece alone never reads `</s>` as the end.
///
/// # Errors
/// [`TokenizerError::Unsupported`] for settings no LLaMA tokenizer has.
pub(crate) fn to_tokenizer_json(
    model: &SentencePieceModel,
    prefix: SpacePrefix,
    path: &Path,
) -> Result<Value, TokenizerError> {
    check_settings(model, path)?;
    let mut vocab = Map::new();
    for (id, piece) in model.pieces.iter().enumerate() {
        vocab.insert(piece.text.clone(), id.into());
    }
    let unknown = model.pieces.iter().find(|piece| piece.kind == piece_type::UNKNOWN);
    let added = model.pieces.iter().enumerate().filter_map(|(id, piece)| {
        let special = piece_type::is_special(piece.kind)?;
        Some(json!({"id": id, "content": piece.text, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": special}))
    });
    let added: Vec<Value> = added.collect();
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": BOUNDARY}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix != SpacePrefix::None {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer(prefix),
        "pre_tokenizer": (prefix == SpacePrefix::First).then(|| json!(
            {"type": "Metaspace", "replacement": BOUNDARY, "prepend_scheme": "first", "split": false}
        )),
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown.map(|piece| &piece.text),
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": model.pieces.iter().any(|piece| piece.kind == piece_type::BYTE),
            "vocab": vocab,
            "merges": merges(model),
        },
    }))
}

/// Returns the normaliser that puts boundaries in place of spaces; a pre-tokenizer does it for [`SpacePrefix::First`].
pub(crate) fn normalizer(prefix: SpacePrefix) -> Option<Value> {
    let boundary = json!({"type": "Replace", "pattern": {"String": " "}, "content": BOUNDARY});
    let normalizers = match prefix {
        SpacePrefix::Every => vec![json!({"type": "Prepend", "prepend": BOUNDARY}), boundary],
        SpacePrefix::First => return None,
        SpacePrefix::None => vec![boundary],
    };
    Some(json!({"type": "Sequence", "normalizers": normalizers}))
}

fn check_settings(model: &SentencePieceModel, path: &Path) -> Result<(), TokenizerError> {
    let check = |fits: bool, setting, actual: String, expected| {
        if fits {
            Ok(())
        } else {
            Err(TokenizerError::Unsupported { path: path.to_owned(), setting, actual, expected })
        }
    };
    let kinds = ["no type", "UNIGRAM", "BPE", "WORD", "CHAR"];
    let kind = kinds.get(model.model_type as usize).copied().unwrap_or("an unknown type");
    check(kind == "BPE", "trainer_spec.model_type", kind.to_owned(), "BPE")?;
    check(
        !model.has_charsmap,
        "normalizer_spec.precompiled_charsmap",
        "a table".to_owned(),
        "none (identity)",
    )?;
    let removes = model.remove_extra_whitespaces;
    check(!removes, "normalizer_spec.remove_extra_whitespaces", removes.to_string(), "false")?;
    let escapes = model.escape_whitespaces;
    check(escapes, "normalizer_spec.escape_whitespaces", escapes.to_string(), "true")
}

/// Pairs of pieces, in the order in which they are merged.
fn merges(model: &SentencePieceModel) -> Vec<[&str; 2]> {
    let plain = |kind| kind == piece_type::NORMAL;
    let ids: HashMap<&str, usize> = model
        .pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| plain(piece.kind))
        .map(|(id, piece)| (piece.text.as_str(), id))
        .collect();
    let mut ranked = Vec::new();
    for piece in model.pieces.iter().filter(|piece| plain(piece.kind)) {
        for (cut, _) in piece.text.char_indices().skip(1) {
            let (left, right) = piece.text.split_at(cut);
            if let (Some(&left_id), Some(&right_id)) = (ids.get(left), ids.get(right)) {
                ranked.push((piece.score, left_id, right_id, [left, right]));
            }
        }
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    ranked.into_iter().map(|(.., pair)| pair).collect()
}
