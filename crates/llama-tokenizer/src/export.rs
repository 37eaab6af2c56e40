//! A tokenizer's files as the lists of a GGUF file.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use crate::beside::{AddedToken, Beside};
use crate::byte_level;
use crate::convert::BOUNDARY;
use crate::files::{json_if_there, read};
use crate::merges;
use crate::sentencepiece::{SentencePieceModel, piece_type};
use crate::{LlamaTokenizer, Pieces, TokenizerError, TokenizerParts};

impl TokenizerParts {
    /// Reads the tokenizer of a model directory in parts: of `tokenizer.model`, with the tokens that other files add, or
    /// else of `tokenizer.json` alone. SentencePiece keeps scores; where only merges are left, a token's
    /// score is the place of the first merge that makes it.
    ///
    /// # Errors
    /// [`TokenizerError`] when there is neither file, or it is of a kind that a GGUF file of LLaMA has no form for.
    pub fn from_dir(dir: &Path) -> Result<Self, TokenizerError> {
        let (json_path, model_path) = (dir.join("tokenizer.json"), dir.join("tokenizer.model"));
        let json: Option<Value> = json_if_there(&json_path)?;
        let is_bytes = json.as_ref().is_some_and(is_byte_level);
        let mut parts = if model_path.exists() && !is_bytes {
            let model = SentencePieceModel::parse(&read(&model_path)?)
                .map_err(|reason| TokenizerError::Damaged { path: model_path.clone(), reason })?;
            Self::of_model(&model, &model_path)
        } else {
            let json = json.as_ref().ok_or_else(|| TokenizerError::Missing { dir: dir.to_owned() })?;
            Self::of_json(json, &json_path)?
        };
        let beside = Beside::read(dir)?;
        let tokenizer = LlamaTokenizer::from_dir(dir)?;
        if let Pieces::Scores { add_space_prefix, .. } = &mut parts.pieces {
            *add_space_prefix = match &json {
                Some(json) => has_space_prefix(json, &json_path)?,
                None => beside.add_prefix_space.unwrap_or(*add_space_prefix),
            };
        }
        parts.add(json.as_ref(), &beside, &tokenizer);
        parts.bos_id = Some(tokenizer.bos);
        parts.eos_id = Some(tokenizer.eos);
        parts.unk_id = tokenizer.unk;
        parts.pad_id = beside.role("pad_token").and_then(|name| tokenizer.library.id(name));
        parts.add_bos = Some(tokenizer.adds_bos());
        parts.add_eos = Some(tokenizer.adds_eos());
        Ok(parts)
    }

    fn of_model(model: &SentencePieceModel, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            tokens: model.pieces.iter().map(|piece| piece.text.clone()).collect(),
            token_types: model.pieces.iter().map(|piece| piece.kind as i64).collect(),
            pieces: Pieces::Scores {
                scores: model.pieces.iter().map(|piece| piece.score).collect(),
                add_space_prefix: model.add_dummy_prefix,
            },
            bos_id: None,
            eos_id: None,
            unk_id: None,
            pad_id: None,
            add_bos: None,
            add_eos: None,
        }
    }

    fn of_json(json: &Value, path: &Path) -> Result<Self, TokenizerError> {
        let unfit = |what, actual: String, expected: &str| TokenizerError::Parts {
            path: path.to_owned(),
            what,
            actual,
            expected: expected.to_owned(),
        };
        let model = &json["model"];
        let vocab =
            model["vocab"].as_object().filter(|_| model["type"] == "BPE" || model["merges"].is_array());
        let vocab = vocab.ok_or_else(|| unfit("a model of type", model["type"].to_string(), "BPE"))?;
        let count = vocab.values().filter_map(Value::as_u64).max().map_or(0, |last| last as usize + 1);
        let mut tokens = vec![String::new(); count];
        for (token, id) in vocab {
            if let Some(slot) = id.as_u64().and_then(|id| tokens.get_mut(id as usize)) {
                token.clone_into(slot);
            }
        }
        let merges: Vec<(String, String)> = merges::of(json).collect();
        let byte_fallback = model["byte_fallback"].as_bool().unwrap_or(false);
        let pieces = if is_byte_level(json) {
            let pre = byte_level::name_of(&json["pre_tokenizer"]).ok_or_else(|| {
                unfit(
                    "a way of cutting texts",
                    json["pre_tokenizer"].to_string(),
                    &byte_level::KNOWN.join(", "),
                )
            })?;
            let merges = merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
            Pieces::Merges { merges, pre: pre.to_owned() }
        } else {
            let mut ranks: HashMap<String, usize> = HashMap::new();
            for (rank, (left, right)) in merges.iter().enumerate() {
                ranks.entry(format!("{left}{right}")).or_insert(rank);
            }
            let score = |token: &String| ranks.get(token).map_or(-1e6, |&rank| -(rank as f32));
            let scores = tokens.iter().map(score).collect();
            Pieces::Scores { scores, add_space_prefix: true }
        };
        let is_byte = |token: &String| byte_fallback && token.len() == 6 && token.starts_with("<0x");
        let kind = |token: &String| if is_byte(token) { piece_type::BYTE } else { piece_type::NORMAL } as i64;
        let token_types = tokens.iter().map(kind).collect();
        Ok(Self {
            path: path.to_owned(),
            tokens,
            token_types,
            pieces,
            bos_id: None,
            eos_id: None,
            unk_id: None,
            pad_id: None,
            add_bos: None,
            add_eos: None,
        })
    }

    /// Takes over the tokens that `tokenizer.json` and the files beside it add, as llama.cpp's converter does
    /// (`conversion/base.py`, `_create_vocab_sentencepiece`): at the ids that `tokenizer` has for them.
    fn add(&mut self, json: Option<&Value>, beside: &Beside, tokenizer: &LlamaTokenizer) {
        let listed = json.and_then(|json| json["added_tokens"].as_array()).into_iter().flatten();
        for token in listed.filter_map(AddedToken::read) {
            self.put(&token, false, tokenizer);
        }
        for token in &beside.tokens {
            self.put(token, token.id.is_some(), tokenizer);
        }
    }

    /// Puts one token at its place; `is_stated` where its type is more than what the vocabulary says of it.
    fn put(&mut self, token: &AddedToken, is_stated: bool, tokenizer: &LlamaTokenizer) {
        let Some(id) = tokenizer.library.id(&token.content) else { return };
        let id = id as usize;
        let is_known = self.tokens.get(id).is_some_and(|known| *known == token.content);
        if is_known && !is_stated && self.token_types[id] != piece_type::NORMAL as i64 {
            return;
        }
        self.resize(self.tokens.len().max(id + 1));
        let is_control = !token.is_only_listed && (token.special || looks_special(&token.content));
        let kind = if is_control { piece_type::CONTROL } else { piece_type::USER_DEFINED };
        self.token_types[id] = kind as i64;
        // A text is compared with it as it is.
        let is_spelt = is_control || token.is_only_listed;
        self.tokens[id] = if is_spelt { token.content.clone() } else { token.content.replace(BOUNDARY, " ") };
        if let Pieces::Scores { scores, .. } = &mut self.pieces {
            scores[id] = -1000.0;
        }
    }

    /// Makes the vocabulary `len` long, which may be more than the tokenizer knows, with tokens that no text has
    /// (llama.cpp `conversion/base.py`). A longer one stays.
    pub fn resize(&mut self, len: usize) {
        for id in self.tokens.len()..len {
            self.tokens.push(format!("[PAD{id}]"));
            self.token_types.push(piece_type::UNUSED as i64);
            if let Pieces::Scores { scores, .. } = &mut self.pieces {
                scores.push(-10_000.0);
            }
        }
    }
}

/// Tells whether llama.cpp's converter takes a token for a control token though no file says so (`conversion/base.py`,
/// `does_token_look_special`).
fn looks_special(token: &str) -> bool {
    let between = |start, end| token.starts_with(start) && token.ends_with(end);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&token)
        || between("<|", "|>")
        || between("<\u{ff5c}", "\u{ff5c}>")
        || between("<unused", ">")
}

/// Tells whether the tokens of a `tokenizer.json` are made of bytes.
fn is_byte_level(json: &Value) -> bool {
    json["decoder"].to_string().contains("ByteLevel")
}

/// Tells whether a `tokenizer.json` puts a space before a text: by a normaliser, as files of transformers 4 have it, or a
/// pre-tokenizer, as those of 5.
///
/// # Errors
/// [`TokenizerError::Parts`] for a step that GGUF files have no form for.
fn has_space_prefix(json: &Value, path: &Path) -> Result<bool, TokenizerError> {
    let steps = |value: &Value, list: &str| match &value[list] {
        Value::Array(steps) => steps.clone(),
        _ if value.is_null() => Vec::new(),
        _ => vec![value.clone()],
    };
    let normalizers = steps(&json["normalizer"], "normalizers");
    let mut has_prefix = false;
    for step in normalizers.iter().chain(&steps(&json["pre_tokenizer"], "pretokenizers")) {
        match step["type"].as_str() {
            Some("Prepend") if step["prepend"] == BOUNDARY => has_prefix = true,
            Some("Replace") if step["pattern"]["String"] == " " && step["content"] == BOUNDARY => {}
            Some("Metaspace") if step["replacement"] == BOUNDARY => {
                // Older files have a flag where newer ones have a word.
                has_prefix |= step["prepend_scheme"] != "never" && step["add_prefix_space"] != false;
            }
            _ => {
                return Err(TokenizerError::Parts {
                    path: path.to_owned(),
                    what: "a normalizer or pre_tokenizer",
                    actual: step.to_string(),
                    expected: "spaces as \u{2581}, with or without one before the text".to_owned(),
                });
            }
        }
    }
    Ok(has_prefix)
}
