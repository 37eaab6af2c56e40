//! Log-probabilities in the forms of OpenAI's API.

use infer::{BoxError, TokenLogprob};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use crate::SourceText;

/// Largest number of most probable tokens that a request may ask for.
pub(crate) const MAX_TOP: usize = 20;

/// Checks a number of most probable tokens.
pub(crate) fn top(param: &'static str, count: u64) -> Result<usize, ApiError> {
    let top = usize::try_from(count).ok().filter(|&top| top <= MAX_TOP);
    top.ok_or_else(|| ApiError::invalid(param, format!("{param} is {count}; expected 0 to {MAX_TOP}")))
}

/// Names the tokens of one text by the text that each adds to it.
pub(crate) struct TokenTexts {
    before: Option<i64>,
    /// Characters of the text so far.
    offset: usize,
}

impl TokenTexts {
    /// Begins behind the token `before` and `offset` characters.
    pub(crate) fn new(before: Option<i64>, offset: usize) -> Self {
        Self { before, offset }
    }

    /// Returns the text of `id` here. A special token adds none and is spelled out.
    fn text(&self, text: &dyn SourceText, id: i64) -> Result<(String, bool), BoxError> {
        let before: Vec<i64> = self.before.into_iter().collect();
        let (old, new) = (text.decode(&before)?, text.decode(&[&before[..], &[id]].concat())?);
        let added = match new.strip_prefix(&old) {
            Some(added) => added.to_owned(),
            None => text.decode(&[id])?,
        };
        if added.is_empty() { Ok((text.decode_all(&[id])?, false)) } else { Ok((added, true)) }
    }

    /// Writes tokens as `/v1/completions` has them.
    pub(crate) fn completion(
        &mut self,
        text: &dyn SourceText,
        tokens: &[TokenLogprob],
    ) -> Result<Value, BoxError> {
        let (mut names, mut logprobs, mut tops, mut offsets) = (vec![], vec![], vec![], vec![]);
        for TokenLogprob { id, logprob, top } in tokens {
            let (name, is_text) = self.text(text, *id)?;
            offsets.push(self.offset);
            if is_text {
                self.offset += name.chars().count();
            }
            let mut best = Map::new();
            for &(id, logprob) in top {
                let name = self.text(text, id)?.0;
                best.entry(name).or_insert_with(|| json!(logprob));
            }
            if let Some(logprob) = logprob {
                best.entry(name.clone()).or_insert_with(|| json!(logprob));
            }
            tops.push(if logprob.is_none() { Value::Null } else { Value::Object(best) });
            names.push(name);
            logprobs.push(*logprob);
            self.before = Some(*id);
        }
        Ok(
            json!({ "tokens": names, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets }),
        )
    }

    /// Writes tokens as `/v1/chat/completions` has them.
    pub(crate) fn chat(&mut self, text: &dyn SourceText, tokens: &[TokenLogprob]) -> Result<Value, BoxError> {
        let mut content = Vec::new();
        for TokenLogprob { id, logprob, top } in tokens {
            let entry = |id: i64, logprob: Option<f32>| -> Result<Value, BoxError> {
                let name = self.text(text, id)?.0;
                // Bytes that are no character yet are not known here.
                let bytes = (!name.contains('\u{FFFD}')).then_some(name.as_bytes());
                Ok(json!({ "token": name, "logprob": logprob, "bytes": bytes }))
            };
            let mut token = entry(*id, *logprob)?;
            let best =
                top.iter().map(|&(id, logprob)| entry(id, Some(logprob))).collect::<Result<Vec<_>, _>>()?;
            token["top_logprobs"] = best.into();
            content.push(token);
            self.before = Some(*id);
        }
        Ok(json!({ "content": content, "refusal": null }))
    }
}
