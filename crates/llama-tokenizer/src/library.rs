//! The one place that calls the `tokenizers` library, which panics on some damaged files: what it panics about becomes an
//! error that names the file.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Once};

use serde::de::IgnoredAny;
use tokenizers::{AddedToken, Tokenizer};

use crate::TokenizerError;
use crate::files::parse;

/// A tokenizer of the library.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    tokenizer: Tokenizer,
    /// The file that it was made of, for messages.
    path: Arc<Path>,
}

/// Ids without a token that a small vocabulary may have; a large one may have one for each of its tokens.
const UNUSED_IDS: usize = 1 << 16;

/// Token ids, and the bytes of the text that each stands for, as (start, end).
pub(crate) type IdsAndOffsets = (Vec<u32>, Vec<(usize, usize)>);

impl Library {
    /// Makes a tokenizer of the contents of the `tokenizer.json` at `path`, without what it says of cutting and filling
    /// texts, which is for those who pad.
    pub(crate) fn new(json: &[u8], path: &Path) -> Result<Self, TokenizerError> {
        parse::<IgnoredAny>(json, path)?;
        let tokenizer = guarded("read", path, || {
            let mut tokenizer = Tokenizer::from_bytes(json)?;
            tokenizer.with_truncation(None)?;
            tokenizer.with_padding(None);
            Ok(tokenizer)
        })?;
        let library = Self { tokenizer, path: path.into() };
        library.check_ids()?;
        Ok(library)
    }

    /// Refuses ids far beyond the number of tokens, since tables have a place for each id.
    fn check_ids(&self) -> Result<(), TokenizerError> {
        let most = 2 * self.tokenizer.get_vocab_size(true) + UNUSED_IDS;
        let size = self.vocab_size();
        if size <= most {
            return Ok(());
        }
        Err(TokenizerError::Parts {
            path: self.path.to_path_buf(),
            what: "a token with the id",
            actual: (size - 1).to_string(),
            expected: format!("less than {most}, for so few tokens"),
        })
    }

    /// Calls the library; `what` is the action and its object, up to the file.
    fn call<T>(
        &self,
        what: &str,
        call: impl FnOnce(&Tokenizer) -> tokenizers::Result<T>,
    ) -> Result<T, TokenizerError> {
        guarded(what, &self.path, || call(&self.tokenizer))
    }

    /// Returns the contents of its `tokenizer.json`.
    pub(crate) fn to_json(&self) -> Result<String, TokenizerError> {
        self.call("write the tokenizer of", |tokenizer| tokenizer.to_string(false))
    }

    /// Returns the ids of `text`, without what a post-processor inserts.
    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.call(ENCODE, |tokenizer| Ok(tokenizer.encode_fast(text, false)?.get_ids().to_vec()))
    }

    /// Returns the ids of `text`, and the bytes of it that each stands for.
    pub(crate) fn ids_with_offsets(&self, text: &str) -> Result<IdsAndOffsets, TokenizerError> {
        self.call(ENCODE, |tokenizer| {
            let encoding = tokenizer.encode(text, false)?;
            Ok((encoding.get_ids().to_vec(), encoding.get_offsets().to_vec()))
        })
    }

    /// Returns the ids that the post-processor puts before a text, and those it puts behind it.
    pub(crate) fn inserted(&self) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
        self.call(ENCODE, |tokenizer| {
            let (plain, whole) = (tokenizer.encode_fast("x", false)?, tokenizer.encode_fast("x", true)?);
            let (plain, whole) = (plain.get_ids(), whole.get_ids());
            if plain.is_empty() {
                return Ok((whole.to_vec(), Vec::new()));
            }
            let at = whole.windows(plain.len()).position(|window| window == plain).unwrap_or(0);
            Ok((whole[..at].to_vec(), whole.get(at + plain.len()..).unwrap_or_default().to_vec()))
        })
    }

    /// Returns the text of `ids`, special tokens included.
    pub(crate) fn text(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.call("decode ids by", |tokenizer| tokenizer.decode(ids, false))
    }

    /// Returns the token of an id.
    pub(crate) fn token(&self, id: u32) -> Option<String> {
        self.call("look up an id in", |tokenizer| Ok(tokenizer.id_to_token(id))).ok().flatten()
    }

    /// Returns the id of a token.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.call("look up a token in", |tokenizer| Ok(tokenizer.token_to_id(token))).ok().flatten()
    }

    /// Lists the tokens that a text may spell whatever the merges say, by id.
    pub(crate) fn added(&self) -> Vec<(u32, AddedToken)> {
        let mut added: Vec<_> = self.tokenizer.get_added_tokens_decoder().into_iter().collect();
        added.sort_by_key(|(id, _)| *id);
        added
    }

    /// Returns one more than the highest id.
    pub(crate) fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }
}

thread_local! {
    /// Set while a panic of this thread is caught and becomes an error.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Action of most calls, up to the file.
const ENCODE: &str = "encode a text by";

/// Calls the library; `what` is the action and its object, up to the file.
fn guarded<T>(
    what: &str,
    path: &Path,
    call: impl FnOnce() -> tokenizers::Result<T>,
) -> Result<T, TokenizerError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // Whoever watches panics hears of all but those that become errors here.
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IN_CALL.get() {
                others(panic);
            }
        }));
    });
    let before = IN_CALL.replace(true);
    let done = catch_unwind(AssertUnwindSafe(call));
    IN_CALL.set(before);
    let failed =
        |reason| TokenizerError::Library { what: format!("cannot {what} `{}`", path.display()), reason };
    match done {
        Ok(result) => result.map_err(|error| failed(error.to_string())),
        Err(panic) => Err(failed(format!("the tokenizers library gave up: {}", words(&*panic)))),
    }
}

/// Returns what a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_library_is_an_error_with_its_words() {
        let panics = |text: &'static str| guarded::<()>("read", Path::new("x"), move || panic!("{text}"));
        let error = panics("no decoder").unwrap_err().to_string();
        assert!(error.contains("cannot read `x`") && error.contains("no decoder"), "{error}");
        // The next call is as good as the first.
        assert!(guarded("read", Path::new("x"), || Ok(1)).is_ok());
    }
}
