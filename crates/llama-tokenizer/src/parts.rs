//! A tokenizer as the lists that a GGUF file keeps of it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::TokenizerError;
use crate::byte_level::{self, begins_texts};
use crate::convert::{SpacePrefix, to_tokenizer_json};
use crate::sentencepiece::{Piece, SentencePieceModel, piece_type};

/// A tokenizer in parts, each named as `tokenizer.ggml.*` names it.
#[derive(Debug, Clone)]
pub struct TokenizerParts {
    /// The file they come from, for messages.
    pub path: PathBuf,
    /// The vocabulary: every token, in the order of their ids.
    pub tokens: Vec<String>,
    /// Type of each token, by `SentencePiece`'s numbers; empty where all are ordinary.
    pub token_types: Vec<i64>,
    /// Scores or merges.
    pub pieces: Pieces,
    /// The token that begins a text.
    pub bos_id: Option<u32>,
    /// The token that ends one.
    pub eos_id: Option<u32>,
    /// The token of what cannot be spelt.
    pub unk_id: Option<u32>,
    /// The token that fills.
    pub pad_id: Option<u32>,
    /// A text begins with the begin token; `None`, where the file does not say, leaves it to the kind.
    pub add_bos: Option<bool>,
    /// A text ends with the end token; `None` where the file does not say.
    pub add_eos: Option<bool>,
}

/// Rules by which a text becomes tokens.
#[derive(Debug, Clone)]
pub enum Pieces {
    /// `SentencePiece`'s BPE, whose merges are ranked by scores (`tokenizer.ggml.model` = `llama`).
    Scores {
        /// One for each token.
        scores: Vec<f32>,
        /// Put a space before a text.
        add_space_prefix: bool,
    },
    /// BPE over bytes, with the merges written out (`gpt2`).
    Merges {
        /// Pairs, joined by a space, in the order in which they are merged.
        merges: Vec<String>,
        /// Name of the rule that cuts a text before it (`tokenizer.ggml.pre`).
        pre: String,
    },
}

impl TokenizerParts {
    /// Makes the contents of the `tokenizer.json` of the same tokenizer.
    pub(crate) fn to_tokenizer_json(&self) -> Result<Value, TokenizerError> {
        let len = self.tokens.len();
        if ![0, len].contains(&self.token_types.len()) {
            return Err(self.unfit(
                "token_type of length",
                self.token_types.len().to_string(),
                len.to_string(),
            ));
        }
        let ids = [self.bos_id, self.eos_id, self.unk_id, self.pad_id];
        if let Some(id) = ids.into_iter().flatten().find(|&id| id as usize >= len) {
            return Err(self.unfit("a special token id", id.to_string(), format!("less than {len}")));
        }
        let mut json = match &self.pieces {
            Pieces::Scores { scores, add_space_prefix } => {
                if scores.len() != len {
                    return Err(self.unfit("scores of length", scores.len().to_string(), len.to_string()));
                }
                let prefix = if *add_space_prefix { SpacePrefix::Every } else { SpacePrefix::None };
                to_tokenizer_json(&self.sentencepiece(scores, *add_space_prefix), prefix, &self.path)?
            }
            Pieces::Merges { merges, pre } => {
                let pre_tokenizer = byte_level::pre_tokenizer(pre)
                    .ok_or_else(|| self.unfit("pre", pre, byte_level::KNOWN.join(", ")))?;
                let merges = merges
                    .iter()
                    .map(|pair| pair.split_once(' ').map(|(left, right)| [left, right]))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| self.unfit("a merge", "without a space", "a pair of tokens"))?;
                byte_level::to_tokenizer_json(&self.tokens, &merges, &pre_tokenizer, pre)
            }
        };
        // A chat's marks are written as text; files for other programs read them so too.
        json["added_tokens"] = self.added_tokens();
        // Converters make a control token of it.
        if let (Pieces::Scores { .. }, Some(unk)) = (&self.pieces, self.unk_id) {
            json["model"]["unk_token"] = self.tokens[unk as usize].clone().into();
        }
        json["post_processor"] = self.post_processor()?;
        Ok(json)
    }

    fn sentencepiece(&self, scores: &[f32], add_dummy_prefix: bool) -> SentencePieceModel {
        let pieces = self.tokens.iter().zip(scores).enumerate();
        let pieces =
            pieces.map(|(id, (text, &score))| Piece { text: text.clone(), score, kind: self.kind(id) });
        SentencePieceModel {
            pieces: pieces.collect(),
            model_type: 2,
            has_charsmap: false,
            add_dummy_prefix,
            remove_extra_whitespaces: false,
            escape_whitespaces: true,
        }
    }

    fn kind(&self, id: usize) -> u64 {
        self.token_types.get(id).and_then(|&kind| u64::try_from(kind).ok()).unwrap_or(piece_type::NORMAL)
    }

    /// Lists the tokens that a text may spell whatever the merges say.
    fn added_tokens(&self) -> Value {
        let added = self.tokens.iter().enumerate().filter_map(|(id, content)| {
            let special = piece_type::is_special(self.kind(id))?;
            Some(json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                        "normalized": false, "special": special}))
        });
        added.collect()
    }

    /// Makes the post-processor that puts begin and end token around a text in other programs; null for neither.
    fn post_processor(&self) -> Result<Value, TokenizerError> {
        let begin = self.adds_bos().then(|| self.bos()).transpose()?;
        let end = self.add_eos.unwrap_or(false).then(|| self.eos()).transpose()?;
        if begin.is_none() && end.is_none() {
            return Ok(Value::Null);
        }
        let token = |id: &u32| &self.tokens[*id as usize];
        let around = |text: &str, type_id: u32| -> Vec<Value> {
            let special = |id: Option<u32>| {
                id.map(|id| json!({"SpecialToken": {"id": token(&id), "type_id": type_id}}))
            };
            let text = json!({"Sequence": {"id": text, "type_id": type_id}});
            [special(begin), Some(text), special(end)].into_iter().flatten().collect()
        };
        let special: serde_json::Map<String, Value> = begin
            .iter()
            .chain(&end)
            .map(|id| (token(id).clone(), json!({"id": token(id), "ids": [id], "tokens": [token(id)]})))
            .collect();
        let pair = [around("A", 0), around("B", 1)].concat();
        Ok(json!({
            "type": "TemplateProcessing",
            "single": around("A", 0),
            "pair": pair,
            "special_tokens": special,
        }))
    }

    /// Lists the ids that stand for no text.
    pub(crate) fn special_ids(&self) -> impl Iterator<Item = u32> {
        let stands_for_none = |id: &usize| piece_type::is_special(self.kind(*id)) == Some(true);
        (0..self.tokens.len()).filter(stands_for_none).map(|id| id as u32)
    }

    pub(crate) fn adds_bos(&self) -> bool {
        self.add_bos.unwrap_or_else(|| match &self.pieces {
            Pieces::Scores { .. } => true,
            Pieces::Merges { pre, .. } => begins_texts(pre),
        })
    }

    /// Returns the begin token: where the file names none, `SentencePiece`'s first, or else the end token.
    pub(crate) fn bos(&self) -> Result<u32, TokenizerError> {
        match (&self.pieces, self.bos_id) {
            (_, Some(id)) => Ok(id),
            (Pieces::Scores { .. }, None) => self.named("<s>").map_or_else(|| self.eos(), Ok),
            (Pieces::Merges { .. }, None) => self.eos(),
        }
    }

    /// Returns the end token.
    pub(crate) fn eos(&self) -> Result<u32, TokenizerError> {
        let candidates = ["</s>", "<|endoftext|>"];
        let found = self.eos_id.or_else(|| candidates.iter().find_map(|name| self.named(name)));
        found.ok_or_else(|| TokenizerError::NoSpecialToken {
            path: self.path.clone(),
            role: "end of text",
            candidates: candidates.map(str::to_owned).to_vec(),
        })
    }

    fn named(&self, name: &str) -> Option<u32> {
        self.tokens.iter().position(|token| token == name).map(|id| id as u32)
    }

    fn unfit(
        &self,
        what: &'static str,
        actual: impl Into<String>,
        expected: impl Into<String>,
    ) -> TokenizerError {
        let (actual, expected) = (actual.into(), expected.into());
        TokenizerError::Parts { path: self.path.clone(), what, actual, expected }
    }
}
