//! Text while it is written: whole characters only, and nothing that may still become a stop string.

use nn_core::BoxError;

use crate::InferError;

/// Decoder of token ids, the part of a tokenizer that generation needs.
pub trait TokenText: Send + Sync {
    /// Returns the text of token ids, without special tokens.
    ///
    /// # Errors
    /// Any failure of the tokenizer.
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError>;
}

/// Stand-in for bytes that are no character (yet).
const REPLACEMENT: char = '\u{FFFD}';
/// Tokens that may wait for the rest of a character. It has at most four bytes, but each token may end one and begin
/// another; what is still none after so many is not text.
const PATIENCE: usize = 16;
/// Tokens of the text before that are decoded with the first ones.
const CONTEXT: usize = 16;

/// Incremental decoder of one growing list of tokens.
///
/// Each new token is decoded behind a few old ones, because what a token stands for depends on what is before it
/// (SentencePiece drops the space of the first word; bytes of one character come as several tokens). The pieces it gives
/// out, one after another, are the text.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    ids: Vec<i64>,
    /// `ids[..context]` are of a text before this one.
    context: usize,
    /// `ids[window..decoded]` are decoded before a new token for its context; `ids[..decoded]` are in `text`.
    window: usize,
    decoded: usize,
    text: String,
    /// Bytes of `text` that were given out; the rest may become a stop string.
    given: usize,
    stop: Vec<String>,
    stopped: bool,
}

impl TextStream {
    /// Creates a text that ends before the first of the `stop` strings.
    pub fn new(stop: &[String]) -> Self {
        let stop = stop.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stop, ..Self::default() }
    }

    /// Creates a text that continues the text of the tokens `before`: its first word keeps the space before it.
    pub fn after(before: &[i64], stop: &[String]) -> Self {
        let before = &before[before.len().saturating_sub(CONTEXT)..];
        Self { ids: before.to_vec(), context: before.len(), decoded: before.len(), ..Self::new(stop) }
    }

    /// Appends a token; returns what can be given out now, perhaps nothing.
    ///
    /// # Errors
    /// [`InferError::Decode`] when the tokenizer refuses.
    pub fn push(&mut self, id: i64, decoder: &dyn TokenText) -> Result<&str, InferError> {
        if self.stopped {
            return Ok("");
        }
        self.ids.push(id);
        self.decode(decoder, false)?;
        let held = self.search_stop();
        Ok(self.give(held))
    }

    /// Ends the text; returns what was held back.
    ///
    /// # Errors
    /// The same as of [`TextStream::push`].
    pub fn finish(&mut self, decoder: &dyn TokenText) -> Result<&str, InferError> {
        if !self.stopped {
            self.decode(decoder, true)?;
            self.search_stop();
        }
        Ok(self.give(0))
    }

    /// Tells whether the text reached a stop string.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Returns the text given out so far.
    pub fn text(&self) -> &str {
        &self.text[..self.given]
    }

    /// Returns all tokens so far.
    pub fn ids(&self) -> &[i64] {
        &self.ids[self.context..]
    }

    pub(crate) fn into_parts(self) -> (Vec<i64>, String) {
        let Self { mut ids, context, mut text, given, .. } = self;
        text.truncate(given);
        (ids.split_off(context), text)
    }

    /// Adds the text of the tokens that are not yet in it, unless they end in an unfinished character.
    fn decode(&mut self, decoder: &dyn TokenText, end: bool) -> Result<(), InferError> {
        let decode = |ids: &[i64]| decoder.decode(ids).map_err(InferError::Decode);
        let new = &self.ids[self.decoded..];
        if new.is_empty() {
            return Ok(());
        }
        let mut before = decode(&self.ids[self.window..self.decoded])?;
        // The text before was cut within a character, which would undo the bytes behind it.
        while self.decoded == self.context && self.window < self.decoded && before.starts_with(REPLACEMENT) {
            self.window += 1;
            before = decode(&self.ids[self.window..self.decoded])?;
        }
        let after = decode(&self.ids[self.window..])?;
        if after.ends_with(REPLACEMENT) && new.len() < PATIENCE && !end {
            return Ok(());
        }
        // A run of bytes is decoded as a whole, so bytes that are no character may undo those before them.
        let piece = match after.strip_prefix(&before) {
            Some(piece) => piece.to_owned(),
            None => decode(new)?,
        };
        // A window without text of its own would not tell whether a word is the first.
        if !piece.is_empty() {
            self.window = self.decoded;
            self.text.push_str(&piece);
        }
        self.decoded = self.ids.len();
        Ok(())
    }

    /// Looks for a stop string in what was not yet given out, and cuts the text there; returns how many bytes at the end
    /// may still become one.
    fn search_stop(&mut self) -> usize {
        let fresh = &self.text[self.given..];
        if let Some(at) = self.stop.iter().filter_map(|stop| fresh.find(stop)).min() {
            self.text.truncate(self.given + at);
            self.stopped = true;
            return 0;
        }
        let begun = |stop: &String| {
            let starts = stop.char_indices().map(|(at, _)| at).skip(1);
            starts.filter(|&len| fresh.ends_with(&stop[..len])).max().unwrap_or(0)
        };
        self.stop.iter().map(begun).max().unwrap_or(0)
    }

    /// Gives out all but the last `held` bytes.
    fn give(&mut self, held: usize) -> &str {
        let from = self.given;
        self.given = self.text.len() - held;
        &self.text[from..self.given]
    }
}
