//! Text to token ids and back.

use std::collections::HashSet;
use std::path::Path;

use tokenizers::Tokenizer;

use crate::TokenizerError;
use crate::TokenizerParts;
use crate::convert::to_tokenizer_json;
use crate::sentencepiece::{SentencePieceModel, piece_type};
use crate::special::SpecialNames;

/// Tokens that begin a text in the LLaMA family.
const BOS: [&str; 4] = ["<s>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"];
/// Tokens that end one.
const EOS: [&str; 4] = ["</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"];

/// First bytes of Llama 3's `tokenizer.model`: its first token, `!`, in base64, and its rank.
const TIKTOKEN: &[u8] = b"IQ== 0";

/// A LLaMA tokenizer. May be shared between threads.
#[derive(Debug, Clone)]
pub struct LlamaTokenizer {
    tokenizer: Tokenizer,
    /// Ids that stand for no text.
    special: HashSet<u32>,
    vocab_size: usize,
    bos: u32,
    eos: u32,
    unk: Option<u32>,
    pad: u32,
    adds_bos: bool,
}

impl LlamaTokenizer {
    /// Reads the tokenizer of a model directory: `tokenizer.json`, or else `tokenizer.model`.
    ///
    /// # Errors
    /// [`TokenizerError`] when there is neither, or it cannot be read.
    pub fn from_dir(dir: &Path) -> Result<Self, TokenizerError> {
        let found = ["tokenizer.json", "tokenizer.model"]
            .map(|name| dir.join(name))
            .into_iter()
            .find(|path| path.exists());
        let path = found.ok_or_else(|| TokenizerError::Missing { dir: dir.to_owned() })?;
        Self::from_file(&path)
    }

    /// Reads a tokenizer from one file: JSON, or a SentencePiece model. The names of its special tokens are looked up
    /// in the files beside it, and else in the vocabulary.
    ///
    /// # Errors
    /// [`TokenizerError`] when it is neither, or names no begin or end token.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let bytes =
            std::fs::read(path).map_err(|source| TokenizerError::Read { path: path.to_owned(), source })?;
        let library = |error: tokenizers::Error| TokenizerError::Library {
            what: format!("cannot read `{}`", path.display()),
            reason: error.to_string(),
        };
        let (mut tokenizer, mut special) = if bytes.first() == Some(&b'{') {
            let tokenizer = Tokenizer::from_bytes(&bytes).map_err(library)?;
            let added = tokenizer.get_added_tokens_decoder();
            let special = added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id).collect();
            (tokenizer, special)
        } else if bytes.starts_with(TIKTOKEN) {
            return Err(TokenizerError::Tiktoken { path: path.to_owned() });
        } else {
            let model = SentencePieceModel::parse(&bytes)
                .map_err(|reason| TokenizerError::Damaged { path: path.to_owned(), reason })?;
            let json = to_tokenizer_json(&model, path)?;
            let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).map_err(library)?;
            let control = [piece_type::CONTROL, piece_type::UNKNOWN];
            let pieces = (0..).zip(&model.pieces).filter(|(_, piece)| control.contains(&piece.kind));
            (tokenizer, pieces.map(|(id, _)| id).collect::<HashSet<u32>>())
        };
        // What a file says about cutting and filling texts is for those who pad.
        tokenizer.with_truncation(None).map_err(library)?;
        tokenizer.with_padding(None);

        let names = SpecialNames::beside(path.parent().unwrap_or(Path::new(".")));
        let id = |name: &Option<String>| name.as_ref().and_then(|name| tokenizer.token_to_id(name));
        let known = |role, name: &Option<String>, candidates: [&str; 4]| {
            let among = || candidates.iter().find_map(|name| tokenizer.token_to_id(name));
            id(name).or_else(among).ok_or_else(|| TokenizerError::NoSpecialToken {
                path: path.to_owned(),
                role,
                candidates: name.iter().cloned().chain(candidates.map(str::to_owned)).collect(),
            })
        };
        let bos = known("begin of text", &names.bos, BOS)?;
        let eos = known("end of text", &names.eos, EOS)?;
        let unk = id(&names.unk).or_else(|| tokenizer.token_to_id("<unk>"));
        let pad = id(&names.pad).or(unk).unwrap_or(eos);
        special.extend([bos, eos]);
        let vocab_size = vocab_size(&tokenizer);
        Ok(Self { tokenizer, special, vocab_size, bos, eos, unk, pad, adds_bos: names.adds_bos })
    }

    /// Makes a tokenizer from the lists that a GGUF file keeps.
    ///
    /// # Errors
    /// [`TokenizerError`] when the lists do not fit each other, or a text would be cut in a way that is not known.
    pub fn from_parts(parts: &TokenizerParts) -> Result<Self, TokenizerError> {
        let json = parts.to_tokenizer_json()?;
        let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).map_err(|error| {
            let what = format!("cannot read the tokenizer of `{}`", parts.path.display());
            TokenizerError::Library { what, reason: error.to_string() }
        })?;
        let (bos, eos) = (parts.bos()?, parts.eos()?);
        let unk = parts.unk_id.or_else(|| tokenizer.token_to_id("<unk>"));
        let vocab_size = vocab_size(&tokenizer);
        let mut special: HashSet<u32> = parts.special_ids().collect();
        special.extend([bos, eos]);
        let pad = parts.pad_id.or(unk).unwrap_or(eos);
        Ok(Self { tokenizer, special, vocab_size, bos, eos, unk, pad, adds_bos: parts.adds_bos() })
    }

    /// Makes the contents of a `tokenizer.json` that makes this tokenizer.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when the library cannot write it.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.tokenizer.to_string(false).map_err(cannot("write the tokenizer"))
    }

    /// Tells whether the model's texts begin with [`Self::bos_id`]; where they do not, no encoding has it.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// Returns the token ids of `text`, after [`Self::bos_id`] if `add_bos` and [`Self::adds_bos`]; whatever else the
    /// tokenizer's file would add is left out.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when the text cannot be tokenised.
    pub fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<i64>, TokenizerError> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(cannot("encode a text"))?;
        let bos = (add_bos && self.adds_bos).then_some(self.bos);
        Ok(bos.iter().chain(encoding.get_ids()).map(|&id| i64::from(id)).collect())
    }

    /// Encodes as [`Self::encode`] does, and returns for each token the bytes of `text` it stands for, as (start, end).
    ///
    /// # Errors
    /// Those of [`Self::encode`].
    #[expect(clippy::type_complexity, reason = "two lists of the same length")]
    pub fn encode_with_offsets(
        &self,
        text: &str,
        add_bos: bool,
    ) -> Result<(Vec<i64>, Vec<(usize, usize)>), TokenizerError> {
        let encoding = self.tokenizer.encode(text, false).map_err(cannot("encode a text"))?;
        let bos = (add_bos && self.adds_bos).then_some(self.bos);
        let ids = bos.iter().chain(encoding.get_ids()).map(|&id| i64::from(id)).collect();
        let offsets = bos.iter().map(|_| (0, 0)).chain(encoding.get_offsets().iter().copied()).collect();
        Ok((ids, offsets))
    }

    /// Returns the text of token ids; with `skip_special`, without the tokens that stand for no text.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when an id is negative or cannot be decoded.
    pub fn decode(&self, ids: &[i64], skip_special: bool) -> Result<String, TokenizerError> {
        let ids = ids
            .iter()
            .map(|&id| u32::try_from(id))
            .filter(|id| !skip_special || !id.is_ok_and(|id| self.special.contains(&id)))
            .collect::<Result<Vec<u32>, _>>()
            .map_err(|error| cannot("decode ids")(error.into()))?;
        self.tokenizer.decode(&ids, false).map_err(cannot("decode ids"))
    }

    /// Returns the token of an id, as the vocabulary spells it.
    pub fn token(&self, id: i64) -> Option<String> {
        self.tokenizer.id_to_token(u32::try_from(id).ok()?)
    }

    /// Returns the id that begins a text.
    pub fn bos_id(&self) -> i64 {
        self.bos.into()
    }

    /// Returns the id that ends a text.
    pub fn eos_id(&self) -> i64 {
        self.eos.into()
    }

    /// Returns the id of the unknown token.
    pub fn unk_id(&self) -> Option<i64> {
        self.unk.map(i64::from)
    }

    /// Returns the padding id: the padding token, or else the unknown token (as alpaca-lora has it), or else the end
    /// token.
    pub fn pad_id(&self) -> i64 {
        self.pad.into()
    }

    /// Returns one more than the highest id.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

/// Returns one more than the highest id.
fn vocab_size(tokenizer: &Tokenizer) -> usize {
    tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
}

fn cannot(what: &str) -> impl Fn(tokenizers::Error) -> TokenizerError {
    move |error| TokenizerError::Library { what: format!("cannot {what}"), reason: error.to_string() }
}
