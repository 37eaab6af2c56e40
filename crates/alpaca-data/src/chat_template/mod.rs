//! Chat templates: conversations rendered by a model's own Jinja template.

mod budget;
mod dialect;
mod json;
mod methods;
mod python;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::fmt::strtime::{self, BrokenDownTime, PosixCustom};
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Environment, Error, ErrorKind, Value};

use crate::{DataError, Message};

/// Chat template in the dialect of transformers (`utils/chat_template_utils.py`): Jinja with trimmed blocks, Python's
/// operators and methods, `{% generation %}`, `tojson`, `raise_exception` and `strftime_now` (in UTC here).
///
/// A rendering is bounded in steps, in the bytes of the texts that it makes, and in time.
#[derive(Debug)]
pub struct ChatTemplate {
    /// The compiled template, or the parser's message.
    environment: Result<Environment<'static>, String>,
    /// Values of the variables that the tokenizer's files give: `bos_token`, `unk_token` and so on.
    tokens: Vec<(String, Value)>,
    has_generation: bool,
}

const NAME: &str = "chat";
/// Steps of one rendering: far more than any conversation needs, so only an endless loop reaches it.
const FUEL: usize = 2_000_000;

impl ChatTemplate {
    /// Compiles a template; `bos_token` and `eos_token` are the values of its variables of those names. One that is not valid
    /// Jinja fails at [`Self::check`] and when it renders: other records than conversations do not need it.
    pub fn new(source: String, bos_token: &str, eos_token: &str) -> Self {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(methods::call);
        python::add_to(&mut environment);
        environment.add_function("raise_exception", |reason: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        });
        environment.add_function("strftime_now", |format: String| strftime(&format, Timestamp::now()));
        environment.add_filter("tojson", json::to_json);
        let translated = dialect::translate(&source);
        drop(source);
        // A step writes a text between tags at most, also where it is caught and not yet output.
        environment.set_fuel(Some(FUEL.min(4 * budget::MAX_BYTES / translated.longest_text.max(1)) as u64));
        let unknown = unknown_names(&environment, &translated);
        let compiled = guarded(|| environment.add_template_owned(NAME, translated.source))
            .and_then(|added| added)
            .and(unknown);
        let token = |name: &str, text: &str| (name.to_owned(), Value::from(text));
        Self {
            environment: compiled.map(|()| environment).map_err(|error| error.to_string()),
            tokens: vec![token("bos_token", bos_token), token("eos_token", eos_token)],
            has_generation: translated.has_generation,
        }
    }

    /// Adds the values of further variables, as `tokenizer_config.json` gives them: `unk_token`, `pad_token`,
    /// `additional_special_tokens` and others. A name that is there already gets the new value, or none where it is null.
    #[must_use]
    pub fn with_tokens(mut self, tokens: &serde_json::Map<String, serde_json::Value>) -> Self {
        for (name, value) in tokens {
            self.tokens.retain(|(other, _)| other != name);
            if !value.is_null() {
                self.tokens.push((name.clone(), Value::from_serialize(value)));
            }
        }
        self
    }

    /// Checks that the template could be compiled.
    ///
    /// # Errors
    /// [`DataError::ChatTemplate`] when it is not valid Jinja, or has a filter or a test that is unknown here.
    pub fn check(&self) -> Result<(), DataError> {
        self.environment().map(|_| ())
    }

    fn environment(&self) -> Result<&Environment<'static>, DataError> {
        self.environment.as_ref().map_err(|reason| DataError::ChatTemplate { reason: reason.clone() })
    }

    /// Renders a conversation; `add_generation_prompt` appends the opening of the assistant's next turn.
    ///
    /// # Errors
    /// The template's own message when it refuses the conversation, or what it cannot do.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, String> {
        self.rendered(messages, add_generation_prompt).map(|(text, _)| text)
    }

    /// Tells whether the template says itself what the assistant wrote, in `{% generation %}` blocks.
    pub fn has_generation(&self) -> bool {
        self.has_generation
    }

    /// Renders a whole conversation; also returns the bytes that its `{% generation %}` blocks wrote (transformers'
    /// `return_assistant_tokens_mask`).
    ///
    /// # Errors
    /// Those of [`Self::render`], or when a block's text is not output where it is rendered, as in a macro.
    pub fn render_spans(&self, messages: &[Message]) -> Result<(String, Vec<Range<usize>>), String> {
        let (text, blocks) = self.rendered(messages, false)?;
        let spans = blocks.into_iter().map(|(start, block)| {
            let is_there = text.get(start..).is_some_and(|rest| rest.starts_with(&block));
            is_there.then(|| start..start + block.len())
        });
        let spans = spans.collect::<Option<Vec<_>>>();
        let spans = spans
            .ok_or("the chat template has a {% generation %} block that is not output where it stands")?;
        Ok((text, spans))
    }

    /// Renders a conversation; also returns the texts of its `{% generation %}` blocks and where they begin.
    fn rendered(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<(String, Vec<(usize, String)>), String> {
        let environment = self.environment().map_err(|error| error.to_string())?;
        let own = [
            ("messages", Value::from_serialize(messages)),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            // transformers gives these to every template.
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ];
        let tokens = self.tokens.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let variables: Value = tokens.chain(own).collect();
        let render = || {
            let mut output = budget::Output::default();
            environment.get_template(NAME)?.render_captured_to(variables, &mut output)?;
            Ok(output.0)
        };
        let (result, spans) = budget::bounded(|| guarded(render).and_then(|rendered| rendered));
        Ok((result.map_err(|error| sentence(&error))?, spans))
    }
}

/// Looks for filters and tests that nobody here knows. minijinja asks for one when it is reached, which may be in the hundredth
/// conversation; jinja2 when it compiles.
fn unknown_names(environment: &Environment<'_>, template: &dialect::Translated) -> Result<(), Error> {
    let state = environment.empty_state();
    let is_unknown = |result: Result<(), Error>, kind| result.is_err_and(|error| error.kind() == kind);
    let unknown = |what: &str, name: &String| {
        Err(Error::new(ErrorKind::SyntaxError, format!("it has the {what} `{name}`, which is unknown here")))
    };
    for name in &template.filters {
        let applied = guarded(|| state.apply_filter(name, &[]).map(|_| ())).and_then(|applied| applied);
        if is_unknown(applied, ErrorKind::UnknownFilter) {
            return unknown("filter", name);
        }
    }
    for name in &template.tests {
        let performed = guarded(|| state.perform_test(name, &[]).map(|_| ())).and_then(|performed| performed);
        if is_unknown(performed, ErrorKind::UnknownTest) {
            return unknown("test", name);
        }
    }
    Ok(())
}

/// Calls minijinja. It panics on some input that it should refuse (2.24: a reversed slice of an empty list); a panic is
/// an error here.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        python::wrong(format!(
            "the template engine (minijinja) panicked: {}",
            reason.unwrap_or("without a word")
        ))
    })
}

/// Returns the template's own words, or the engine's and their cause.
fn sentence(error: &Error) -> String {
    let mut text = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    if error.kind() == ErrorKind::WriteFailure
        && let Some(cause) = std::error::Error::source(error)
    {
        text = cause.to_string();
    } else if matches!(error.kind(), ErrorKind::OutOfFuel) {
        "the chat template takes too many steps".clone_into(&mut text);
    }
    text
}

/// Formats a moment in UTC as Python's `strftime` does in the C locale; an unknown directive stays as it is.
fn strftime(format: &str, now: Timestamp) -> Result<String, Error> {
    let config = strtime::Config::new().custom(PosixCustom::new()).lenient(true);
    BrokenDownTime::from(&now.to_zoned(TimeZone::UTC))
        .to_string_with_config(&config, format)
        .map_err(|error| python::wrong(error.to_string()))
}

#[cfg(test)]
mod tests;
