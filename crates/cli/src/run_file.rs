//! Run files: a mistake is told with its file, line and key, and the key that was meant.

use std::path::Path;

use anyhow::Result;
use serde::de::DeserializeOwned;
use terminal::nearest;

use crate::exit::usage;
use crate::files::MAX_TEXT_BYTES;

/// Reads the run file `path` as a `T`, and returns its text beside it.
///
/// # Errors
/// For a file that cannot be read, and for a key that is not known or whose value cannot be.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<(T, String)> {
    let text = weights::read_text(path, MAX_TEXT_BYTES)
        .map_err(|error| usage(format!("cannot read config `{}`: {error}", path.display())))?;
    match toml::from_str(&text) {
        Ok(value) => Ok((value, text)),
        Err(error) => Err(usage(format!("config `{}`, {}", path.display(), explained(&error, &text)))),
    }
}

/// Explains an error by its line, its key and the key that was meant.
fn explained(error: &toml::de::Error, text: &str) -> String {
    let begin = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = begin.matches('\n').count();
    let key = text.lines().nth(number).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    let message = error.message().trim();
    let message = match message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        Some((word, known)) => {
            let meant = nearest(word, known.split('`').skip(1).step_by(2));
            let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            return format!("line {}: unknown field `{word}`{meant}", number + 1);
        }
        None => message.lines().collect::<Vec<_>>().join(" "),
    };
    let key = key.filter(|key| !key.is_empty() && error.span().is_some_and(|span| !span.is_empty()));
    let key = key.map_or_else(String::new, |key| format!(" in `{key}`"));
    format!("line {}: {message}{key}", number + 1)
}
