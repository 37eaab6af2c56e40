//! A tokenizer's files as the lists of a GGUF file.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use crate::byte_level;
use crate::sentencepiece::{SentencePieceModel, piece_type};
use crate::special::SpecialNames;
use crate::{Pieces, TokenizerError, TokenizerParts};

/// The word boundary of SentencePiece.
const BOUNDARY: &str = "\u{2581}";

impl TokenizerParts {
    /// Reads the tokenizer of a model directory in parts: of `tokenizer.model`, with the tokens that `tokenizer.json`
    /// adds, or else of `tokenizer.json` alone. SentencePiece keeps scores; where only merges are left, a token's
    /// score is the place of the first merge that makes it.
    ///
    /// # Errors
    /// [`TokenizerError`] when there is neither file, or it is of a kind that a GGUF file of LLaMA has no form for.
    pub fn from_dir(dir: &Path) -> Result<Self, TokenizerError> {
        let (json_path, model_path) = (dir.join("tokenizer.json"), dir.join("tokenizer.model"));
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TokenizerError::Read { path: path.to_owned(), source })
        };
        let json: Option<Value> = if json_path.exists() {
            let unreadable = |error: serde_json::Error| TokenizerError::Library {
                what: format!("cannot read `{}`", json_path.display()),
                reason: error.to_string(),
            };
            Some(serde_json::from_slice(&read(&json_path)?).map_err(unreadable)?)
        } else {
            None
        };
        let mut parts = if model_path.exists() {
            let model = SentencePieceModel::parse(&read(&model_path)?)
                .map_err(|reason| TokenizerError::Damaged { path: model_path.clone(), reason })?;
            Self::of_model(&model, &model_path)
        } else {
            let json = json.as_ref().ok_or_else(|| TokenizerError::Missing { dir: dir.to_owned() })?;
            Self::of_json(json, &json_path)?
        };
        parts.add(json.as_ref());
        let names = SpecialNames::beside(dir);
        let id = |name: &Option<String>| {
            let name = name.as_ref()?;
            parts.tokens.iter().position(|token| token == name).map(|id| id as u32)
        };
        let known = |name: &Option<String>, names: &[&str]| {
            id(name).or_else(|| names.iter().find_map(|name| id(&Some((*name).to_owned()))))
        };
        let bos = known(&names.bos, &["<s>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"]);
        let eos = known(&names.eos, &["</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"]);
        let (unk, pad) = (known(&names.unk, &["<unk>"]), id(&names.pad));
        (parts.bos_id, parts.eos_id, parts.unk_id, parts.pad_id) = (bos, eos, unk, pad);
        parts.add_bos = Some(names.adds_bos);
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
        let merges: Vec<(String, String)> =
            model["merges"].as_array().into_iter().flatten().filter_map(merge).collect();
        let byte_fallback = model["byte_fallback"].as_bool().unwrap_or(false);
        let is_bytes = json["decoder"].to_string().contains("ByteLevel");
        let pieces = if is_bytes {
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
            let cuts = json["normalizer"].to_string() + &json["pre_tokenizer"].to_string();
            let add_space_prefix =
                cuts.contains("\"Prepend\"") || cuts.contains("\"prepend_scheme\":\"first\"");
            Pieces::Scores { scores, add_space_prefix: add_space_prefix && cuts.contains(BOUNDARY) }
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
        })
    }

    /// Takes over the tokens that `tokenizer.json` adds to its model.
    fn add(&mut self, json: Option<&Value>) {
        for added in json.and_then(|json| json["added_tokens"].as_array()).into_iter().flatten() {
            let (Some(id), Some(content)) = (added["id"].as_u64(), added["content"].as_str()) else {
                continue;
            };
            let special = added["special"].as_bool().unwrap_or(false);
            let kind = match (content, special) {
                ("<unk>", true) => piece_type::UNKNOWN,
                (_, true) => piece_type::CONTROL,
                (_, false) => piece_type::USER_DEFINED,
            };
            let id = id as usize;
            // SentencePiece's own list knows better what its pieces are.
            let is_known = self.tokens.get(id).is_some_and(|token| token == content);
            if is_known && self.token_types[id] != piece_type::NORMAL as i64 {
                continue;
            }
            self.resize(self.tokens.len().max(id + 1));
            content.clone_into(&mut self.tokens[id]);
            self.token_types[id] = kind as i64;
        }
    }

    /// Makes the vocabulary `len` long, which may be more than the tokenizer knows, with tokens that no text has
    /// (llama.cpp `convert_hf_to_gguf.py`). A longer one stays.
    pub fn resize(&mut self, len: usize) {
        for id in self.tokens.len()..len {
            self.tokens.push(format!("[PAD{id}]"));
            self.token_types.push(UNUSED);
            if let Pieces::Scores { scores, .. } = &mut self.pieces {
                scores.push(-1000.0);
            }
        }
    }
}

/// The type of a token that stands for nothing.
const UNUSED: i64 = 5;

/// Reads a pair, in the spelling of any version.
fn merge(value: &Value) -> Option<(String, String)> {
    let (left, right) = match value {
        Value::String(text) => text.split_once(' ')?,
        Value::Array(pair) => (pair.first()?.as_str()?, pair.get(1)?.as_str()?),
        _ => return None,
    };
    Some((left.to_owned(), right.to_owned()))
}
