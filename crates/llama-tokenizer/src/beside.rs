//! What the files beside a vocabulary say of a tokenizer (transformers `PreTrainedTokenizerBase._from_pretrained`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::TokenizerError;
use crate::files::json_if_there;

/// A token that a text may spell whatever the merges say.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of the file")]
pub(crate) struct AddedToken {
    /// `None` for one that a file names without its place.
    pub(crate) id: Option<u32>,
    pub(crate) content: String,
    /// It stands for no text.
    pub(crate) special: bool,
    /// It is listed in `added_tokens.json`, which does not say what is special.
    pub(crate) is_only_listed: bool,
    pub(crate) single_word: bool,
    pub(crate) lstrip: bool,
    pub(crate) rstrip: bool,
    /// It is looked for behind the normaliser.
    pub(crate) normalized: bool,
}

impl AddedToken {
    fn new(id: Option<u32>, content: &str, special: bool) -> Self {
        Self {
            id,
            content: content.to_owned(),
            special,
            is_only_listed: false,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
        }
    }

    /// Reads a text, or an added token written out; `None` for nothing, and for an empty text, which early conversions
    /// have.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let content = value.as_str().or_else(|| value["content"].as_str())?;
        let flag = |key: &str| value[key].as_bool().unwrap_or(false);
        (!content.is_empty()).then(|| Self {
            single_word: flag("single_word"),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
            normalized: flag("normalized"),
            ..Self::new(None, content, flag("special"))
        })
    }

    /// Returns it as `tokenizer.json` lists it.
    pub(crate) fn to_json(&self, id: u32) -> Value {
        json!({"id": id, "content": self.content, "single_word": self.single_word, "lstrip": self.lstrip,
               "rstrip": self.rstrip, "normalized": self.normalized, "special": self.special})
    }
}

/// Settings and tokens in `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`; an absent file has none.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Named tokens by their role, such as `bos_token`.
    roles: BTreeMap<&'static str, String>,
    /// Put the begin token before a text.
    pub(crate) add_bos: Option<bool>,
    /// Put the end token behind a text.
    pub(crate) add_eos: Option<bool>,
    /// Put a space before a text.
    pub(crate) add_prefix_space: Option<bool>,
    /// Put that space before the text behind a special token too.
    pub(crate) legacy: Option<bool>,
    /// Every token they add or name, those with an id first, by id.
    pub(crate) tokens: Vec<AddedToken>,
    /// Notes for the user: settings that are passed over.
    pub(crate) notes: Vec<String>,
}

/// Roles of a token that is named, in transformers' order.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Lists of further special tokens: their name until transformers 5, and since.
const FURTHER: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// One of the files, for messages.
struct File {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl File {
    fn read(dir: &Path, name: &str) -> Result<Self, TokenizerError> {
        let path = dir.join(name);
        let fields = match json_if_there(&path)? {
            None => Map::new(),
            Some(Value::Object(fields)) => fields,
            Some(other) => return Err(unfit(&path, "contents", &other, "an object")),
        };
        Ok(Self { path, fields })
    }

    fn get(&self, key: &str) -> &Value {
        self.fields.get(key).unwrap_or(&Value::Null)
    }

    fn flag(&self, key: &'static str) -> Result<Option<bool>, TokenizerError> {
        match self.get(key) {
            Value::Null => Ok(None),
            Value::Bool(flag) => Ok(Some(*flag)),
            other => Err(unfit(&self.path, key, other, "true or false")),
        }
    }

    fn token(&self, key: &'static str) -> Result<Option<AddedToken>, TokenizerError> {
        match self.get(key) {
            Value::Null => Ok(None),
            value @ (Value::String(_) | Value::Object(_)) => Ok(AddedToken::read(value)),
            other => Err(unfit(&self.path, key, other, "a token")),
        }
    }

    /// Reads a list of tokens, or an object of them by role.
    fn tokens(&self, key: &'static str) -> Result<Vec<AddedToken>, TokenizerError> {
        match self.get(key) {
            Value::Null => Ok(Vec::new()),
            Value::Array(list) => Ok(list.iter().filter_map(AddedToken::read).collect()),
            Value::Object(by_role) => Ok(by_role.values().filter_map(AddedToken::read).collect()),
            other => Err(unfit(&self.path, key, other, "a list of tokens")),
        }
    }
}

fn unfit(path: &Path, setting: &'static str, actual: &Value, expected: &'static str) -> TokenizerError {
    let actual = actual.to_string().chars().take(60).collect();
    TokenizerError::Unsupported { path: path.to_owned(), setting, actual, expected }
}

impl Beside {
    /// Reads the files in `dir`.
    ///
    /// # Errors
    /// [`TokenizerError`] for a file that is there and cannot be read, or says what no tokenizer has.
    pub(crate) fn read(dir: &Path) -> Result<Self, TokenizerError> {
        let config = File::read(dir, "tokenizer_config.json")?;
        let map = File::read(dir, "special_tokens_map.json")?;
        let mut added = decoder(&config)?;
        // Files that spell out the added tokens say all of it; before there were such, the map had the last word.
        let files = if added.is_empty() { [&map, &config] } else { [&config, &map] };
        let mut named: Vec<AddedToken> = Vec::new();
        let mut roles = BTreeMap::new();
        for role in ROLES {
            let tokens = [files[0].token(role)?, files[1].token(role)?];
            if let Some(token) = tokens.into_iter().flatten().next() {
                roles.insert(role, token.content.clone());
                named.push(token);
            }
        }
        for file in files {
            for key in FURTHER {
                named.extend(file.tokens(key)?);
            }
        }
        let listed = listed(dir, &named)?;
        let mut notes = Vec::new();
        if added.is_empty() {
            added = listed;
        } else {
            let is_unknown = |token: &&AddedToken| added.iter().all(|known| known.content != token.content);
            notes.extend(listed.iter().filter(is_unknown).map(|token| {
                format!(
                    "added_tokens.json lists `{}`, which added_tokens_decoder of tokenizer_config.json does not; the \
                     latter is used",
                    token.content
                )
            }));
        }
        for token in named {
            match added.iter_mut().find(|known| known.content == token.content) {
                Some(known) => known.special = true,
                None => added.push(AddedToken { special: true, ..token }),
            }
        }
        Ok(Self {
            roles,
            add_bos: config.flag("add_bos_token")?,
            add_eos: config.flag("add_eos_token")?,
            add_prefix_space: config.flag("add_prefix_space")?,
            legacy: config.flag("legacy")?,
            tokens: added,
            notes,
        })
    }

    /// Returns the token that is named for a role.
    pub(crate) fn role(&self, role: &str) -> Option<&str> {
        self.roles.get(role).map(String::as_str)
    }
}

/// Reads `added_tokens_decoder`, by id.
fn decoder(config: &File) -> Result<Vec<AddedToken>, TokenizerError> {
    const KEY: &str = "added_tokens_decoder";
    let by_id = match config.get(KEY) {
        Value::Null => return Ok(Vec::new()),
        Value::Object(by_id) => by_id,
        other => return Err(unfit(&config.path, KEY, other, "tokens by id")),
    };
    let mut tokens = Vec::with_capacity(by_id.len());
    for (id, token) in by_id {
        let read = id.parse::<u32>().ok().zip(AddedToken::read(token));
        let (id, token) =
            read.ok_or_else(|| unfit(&config.path, KEY, &json!({id: token}), "tokens by id"))?;
        tokens.push(AddedToken { id: Some(id), ..token });
    }
    tokens.sort_by_key(|token| token.id);
    Ok(tokens)
}

/// Reads `added_tokens.json`, by id; those that are `named` are special.
fn listed(dir: &Path, named: &[AddedToken]) -> Result<Vec<AddedToken>, TokenizerError> {
    let file = File::read(dir, "added_tokens.json")?;
    let mut tokens = Vec::with_capacity(file.fields.len());
    for (content, id) in &file.fields {
        let read = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = read.ok_or_else(|| unfit(&file.path, "an added token", &json!({content: id}), "its id"))?;
        let special = named.iter().any(|token| token.content == *content);
        let token = AddedToken::new(Some(id), content, special);
        tokens.push(AddedToken { is_only_listed: true, normalized: !special, ..token });
    }
    tokens.sort_by_key(|token| token.id);
    Ok(tokens)
}
