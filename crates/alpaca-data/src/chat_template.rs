//! Chat templates: conversations rendered by a model's own Jinja template.

use jiff::fmt::strtime::{self, BrokenDownTime, PosixCustom};
use jiff::{Timestamp, tz::TimeZone};
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::Serialize;

use crate::{DataError, Message};

/// Chat template in the dialect of transformers (`utils/chat_template_utils.py`): Jinja with trimmed blocks, Python's
/// string and dictionary methods, `raise_exception` and `strftime_now` (in UTC here).
#[derive(Debug)]
pub struct ChatTemplate {
    /// The compiled template, or the parser's message.
    environment: Result<Environment<'static>, String>,
    bos_token: String,
    eos_token: String,
}

const NAME: &str = "chat";
/// Steps of one rendering: far more than any conversation needs, so only an endless loop reaches it.
const FUEL: u64 = 2_000_000;

impl ChatTemplate {
    /// Compiles a template; `bos_token` and `eos_token` are the values of its variables of those names. One that is not valid
    /// Jinja fails at [`Self::check`] and when it renders: other records than conversations do not need it.
    pub fn new(source: String, bos_token: &str, eos_token: &str) -> Self {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |reason: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        });
        environment.add_function("strftime_now", |format: String| strftime(&format, Timestamp::now()));
        environment.add_filter("tojson", to_json);
        let added = environment.add_template_owned(NAME, source).map_err(|error| error.to_string());
        Self {
            environment: added.map(|()| environment),
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
        }
    }

    /// Checks that the template could be compiled.
    ///
    /// # Errors
    /// [`DataError::ChatTemplate`] when it is not valid Jinja.
    pub fn check(&self) -> Result<(), DataError> {
        self.environment().map(|_| ())
    }

    fn environment(&self) -> Result<&Environment<'static>, DataError> {
        self.environment.as_ref().map_err(|reason| DataError::ChatTemplate { reason: reason.clone() })
    }

    /// Renders a conversation; `add_generation_prompt` appends the opening of the assistant's next turn.
    ///
    /// # Errors
    /// The template's own message when it refuses the conversation.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, String> {
        let environment = self.environment().map_err(|error| error.to_string())?;
        let render = || {
            environment.get_template(NAME)?.render(context! {
                messages => messages,
                bos_token => self.bos_token,
                eos_token => self.eos_token,
                add_generation_prompt,
            })
        };
        render().map_err(|error| error.detail().map_or_else(|| error.to_string(), str::to_owned))
    }
}

/// Formats a moment in UTC as Python's `strftime` does in the C locale; an unknown directive stays as it is.
fn strftime(format: &str, now: Timestamp) -> Result<String, Error> {
    let config = strtime::Config::new().custom(PosixCustom::new()).lenient(true);
    BrokenDownTime::from(&now.to_zoned(TimeZone::UTC))
        .to_string_with_config(&config, format)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// Writes JSON as Python's `json.dumps(value, ensure_ascii=False)` does, which transformers puts in place of Jinja's own
/// filter: no escaping for HTML, a space after each `,` and `:` unless it is indented.
#[expect(clippy::needless_pass_by_value, reason = "minijinja gives keyword arguments by value")]
fn to_json(value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    kwargs.assert_all_used()?;
    let mut bytes = Vec::new();
    let result = match indent {
        Some(indent) => {
            let spaces = " ".repeat(indent.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonSpaces)),
    };
    result.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

struct PythonSpaces;

impl serde_json::ser::Formatter for PythonSpaces {
    fn begin_array_value<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
#[path = "chat_template_tests.rs"]
mod tests;
