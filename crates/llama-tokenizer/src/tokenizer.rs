//! Text to token ids and back.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use crate::added::{complete, rename};
use crate::beside::{AddedToken, Beside};
use crate::convert::{SpacePrefix, normalizer, to_tokenizer_json};
use crate::files::{parse, read};
use crate::library::Library;
use crate::merges;
use crate::sentencepiece::SentencePieceModel;
use crate::{TokenizerError, TokenizerParts};

/// Tokens that begin a text in the LLaMA family.
const BOS: [&str; 4] = ["<s>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"];
/// Tokens that end one.
const EOS: [&str; 4] = ["</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"];

/// First bytes of Llama 3's `tokenizer.model`: its first token, `!`, in base64, and its rank.
const TIKTOKEN: &[u8] = b"IQ== 0";

/// A LLaMA tokenizer. May be shared between threads.
#[derive(Debug, Clone)]
pub struct LlamaTokenizer {
    pub(crate) library: Library,
    /// Ids that stand for no text.
    special: HashSet<u32>,
    vocab_size: usize,
    pub(crate) bos: u32,
    pub(crate) eos: u32,
    pub(crate) unk: Option<u32>,
    pad: u32,
    /// Tokens that a text begins with.
    begin: Vec<u32>,
    adds_eos: bool,
    notes: Vec<String>,
}

impl LlamaTokenizer {
    /// Reads a tokenizer from a model directory or from one file.
    ///
    /// # Errors
    /// Those of [`LlamaTokenizer::from_dir`] and [`LlamaTokenizer::from_file`].
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        if path.is_dir() { Self::from_dir(path) } else { Self::from_file(path) }
    }

    /// Reads the tokenizer of a model directory: `tokenizer.json`, or else `tokenizer.model`, with what the files beside it
    /// add and say.
    ///
    /// # Errors
    /// [`TokenizerError`] when there is neither, or a file of it cannot be read.
    pub fn from_dir(dir: &Path) -> Result<Self, TokenizerError> {
        let found = ["tokenizer.json", "tokenizer.model"]
            .map(|name| dir.join(name))
            .into_iter()
            .find(|path| path.exists());
        let path = found.ok_or_else(|| TokenizerError::Missing { dir: dir.to_owned() })?;
        Self::from_file(&path)
    }

    /// Reads a tokenizer from one file: JSON, or a SentencePiece model. Added tokens, names of special ones and settings
    /// are those of `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` beside it.
    ///
    /// # Errors
    /// [`TokenizerError`] when it is neither, a file beside it cannot be read, or there is no begin or end token.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let bytes = read(path)?;
        let beside = Beside::read(path.parent().unwrap_or(Path::new(".")))?;
        let is_json = bytes.trim_ascii_start().starts_with(b"{")
            || path.extension().is_some_and(|extension| extension == "json");
        if is_json {
            let (library, notes) = library_of_json(&bytes, &beside, path)?;
            let (before, behind) = library.inserted()?;
            return Self::new(library, &beside, before, !behind.is_empty(), notes, path);
        }
        if bytes.starts_with(TIKTOKEN) {
            return Err(TokenizerError::Tiktoken { path: path.to_owned() });
        }
        let model = SentencePieceModel::parse(&bytes)
            .map_err(|reason| TokenizerError::Damaged { path: path.to_owned(), reason })?;
        let library = library_of_model(model, &beside, path)?;
        // The model says nothing of it; LLaMA's texts begin with the begin token.
        let begin = BOS.iter().find_map(|name| library.id(name));
        Self::new(library, &beside, begin.into_iter().collect(), false, Vec::new(), path)
    }

    /// Finds the special tokens; `before` and `ends` are what a text gets where no setting says so.
    fn new(
        library: Library,
        beside: &Beside,
        before: Vec<u32>,
        ends: bool,
        mut notes: Vec<String>,
        path: &Path,
    ) -> Result<Self, TokenizerError> {
        let id = |role: &str| beside.role(role).and_then(|name| library.id(name));
        let known = |role, name: &str, candidates: [&str; 4]| {
            let among = || candidates.iter().find_map(|name| library.id(name));
            id(name).or_else(among).ok_or_else(|| TokenizerError::NoSpecialToken {
                path: path.to_owned(),
                role,
                candidates: beside.role(name).into_iter().chain(candidates).map(str::to_owned).collect(),
            })
        };
        let bos = match (id("bos_token"), before.first()) {
            (None, Some(&first)) => first,
            _ => known("begin of text", "bos_token", BOS)?,
        };
        let eos = known("end of text", "eos_token", EOS)?;
        let unk = id("unk_token").or_else(|| library.id("<unk>"));
        let pad = id("pad_token").or(unk).unwrap_or(eos);
        let begin = match beside.add_bos {
            Some(true) => vec![bos],
            Some(false) => Vec::new(),
            None => before,
        };
        notes.extend(beside.notes.iter().cloned());
        let special = library.added().into_iter().filter(|(_, token)| token.special).map(|(id, _)| id);
        let special = special.chain([bos, eos]).collect();
        let (vocab_size, adds_eos) = (library.vocab_size(), beside.add_eos.unwrap_or(ends));
        Ok(Self { library, special, vocab_size, bos, eos, unk, pad, begin, adds_eos, notes })
    }

    /// Makes a tokenizer from the lists that a GGUF file keeps.
    ///
    /// # Errors
    /// [`TokenizerError`] when the lists do not fit each other, or a text would be cut in a way that is not known.
    pub fn from_parts(parts: &TokenizerParts) -> Result<Self, TokenizerError> {
        let json = parts.to_tokenizer_json()?;
        let library = Library::new(json.to_string().as_bytes(), &parts.path)?;
        let (bos, eos) = (parts.bos()?, parts.eos()?);
        let unk = parts.unk_id.or_else(|| library.id("<unk>"));
        let vocab_size = library.vocab_size();
        let mut special: HashSet<u32> = parts.special_ids().collect();
        special.extend([bos, eos]);
        let pad = parts.pad_id.or(unk).unwrap_or(eos);
        let begin = parts.adds_bos().then_some(bos).into_iter().collect();
        let adds_eos = parts.add_eos.unwrap_or(false);
        Ok(Self { library, special, vocab_size, bos, eos, unk, pad, begin, adds_eos, notes: Vec::new() })
    }

    /// Lists the ids of the tokens that merges make, in the order in which merges are tried.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when the library cannot write them.
    pub fn merged_ids(&self) -> Result<Vec<i64>, TokenizerError> {
        let json: Value = parse(self.to_json()?.as_bytes(), Path::new("tokenizer.json"))?;
        let mut seen = HashSet::new();
        let ids = merges::of(&json).filter_map(|(left, right)| self.library.id(&(left + &right)));
        Ok(ids.filter(|&id| seen.insert(id)).map(i64::from).collect())
    }

    /// Returns this tokenizer with the space before a text as GGUF files have it: before every text between special
    /// tokens, whatever it begins with; `None` for one that has it so, or nowhere.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when the library cannot write it.
    pub fn with_gguf_prefix(&self) -> Result<Option<Self>, TokenizerError> {
        let path = Path::new("tokenizer.json");
        let mut json: Value = parse(self.to_json()?.as_bytes(), path)?;
        let cuts = &json["pre_tokenizer"];
        if cuts["type"] != "Metaspace" || cuts["prepend_scheme"] == "never" || !json["normalizer"].is_null() {
            return Ok(None);
        }
        json["normalizer"] = normalizer(SpacePrefix::Every).into();
        json["pre_tokenizer"] = Value::Null;
        Ok(Some(Self { library: Library::new(json.to_string().as_bytes(), path)?, ..self.clone() }))
    }

    /// Makes the contents of a `tokenizer.json` that makes this tokenizer.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when the library cannot write it.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.library.to_json()
    }

    /// Tells whether the model's texts begin with [`Self::bos_id`], as its post-processor or `add_bos_token` says; where
    /// they do not, no encoding has it.
    pub fn adds_bos(&self) -> bool {
        !self.begin.is_empty()
    }

    /// Tells whether the post-processor or `add_eos_token` ends a text with [`Self::eos_id`]. Encodings here do not: a
    /// prompt is there to be continued, and examples to learn from end by a rule of their own.
    pub fn adds_eos(&self) -> bool {
        self.adds_eos
    }

    /// Returns in words what the files of the tokenizer contradict each other in.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Lists the tokens that a text may spell whatever the merges say, by id.
    pub fn added_tokens(&self) -> Vec<(i64, String)> {
        self.library.added().into_iter().map(|(id, token)| (id.into(), token.content)).collect()
    }

    /// Returns the token ids of `text`, after what begins a text if `add_bos` and [`Self::adds_bos`].
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when the text cannot be tokenised.
    pub fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<i64>, TokenizerError> {
        let ids = self.library.ids(text)?;
        Ok(self.begin(add_bos).iter().chain(&ids).map(|&id| i64::from(id)).collect())
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
        let (ids, offsets) = self.library.ids_with_offsets(text)?;
        let begin = self.begin(add_bos);
        let ids = begin.iter().chain(&ids).map(|&id| i64::from(id)).collect();
        let offsets = begin.iter().map(|_| (0, 0)).chain(offsets).collect();
        Ok((ids, offsets))
    }

    fn begin(&self, add_bos: bool) -> &[u32] {
        if add_bos { &self.begin } else { &[] }
    }

    /// Returns the text of token ids; with `skip_special`, without the tokens that stand for no text.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when an id is negative or cannot be decoded.
    pub fn decode(&self, ids: &[i64], skip_special: bool) -> Result<String, TokenizerError> {
        let id = |&id: &i64| {
            u32::try_from(id).map_err(|_| TokenizerError::Library {
                what: format!("cannot decode `{id}`"),
                reason: "a token id is from 0 to 4294967295".to_owned(),
            })
        };
        let ids = ids
            .iter()
            .map(id)
            .filter(|id| !skip_special || !id.as_ref().is_ok_and(|id| self.special.contains(id)))
            .collect::<Result<Vec<u32>, _>>()?;
        self.library.text(&ids)
    }

    /// Returns the token of an id, as the vocabulary spells it.
    pub fn token(&self, id: i64) -> Option<String> {
        self.library.token(u32::try_from(id).ok()?)
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

/// Makes the library's tokenizer of the contents of `tokenizer.json`, and returns in words what the files beside it
/// contradict.
fn library_of_json(
    bytes: &[u8],
    beside: &Beside,
    path: &Path,
) -> Result<(Library, Vec<String>), TokenizerError> {
    let library = Library::new(bytes, path)?;
    let added = library.added();
    let is_there = |token: &AddedToken| {
        let found = added.iter().find(|(_, known)| known.content == token.content);
        found.is_some_and(|(id, _)| token.id.is_none_or(|stated| stated == *id))
    };
    if beside.tokens.iter().all(is_there) {
        return Ok((library, Vec::new()));
    }
    let mut json: Value = parse(bytes, path)?;
    let notes = complete(&mut json, &beside.tokens);
    Ok((Library::new(json.to_string().as_bytes(), path)?, notes))
}

/// Makes the library's tokenizer of a SentencePiece model (transformers `LlamaConverter`).
fn library_of_model(
    mut model: SentencePieceModel,
    beside: &Beside,
    path: &Path,
) -> Result<Library, TokenizerError> {
    let left = rename(&mut model, &beside.tokens);
    let prefix = match (beside.add_prefix_space.unwrap_or(model.add_dummy_prefix), beside.legacy) {
        (false, _) => SpacePrefix::None,
        (true, Some(false)) => SpacePrefix::First,
        (true, _) => SpacePrefix::Every,
    };
    let mut json = to_tokenizer_json(&model, prefix, path)?;
    complete(&mut json, &left);
    Library::new(json.to_string().as_bytes(), path)
}
