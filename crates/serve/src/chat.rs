//! How a conversation becomes a prompt.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

use crate::strftime::strftime;
use crate::{ServeError, SourceText};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A chat template in the dialect of transformers (`utils/chat_template_utils.py`): Jinja with trimmed blocks, Python's
/// string and dictionary methods, `raise_exception` and `strftime_now` (in UTC here).
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

const NAME: &str = "chat";
/// Steps of one rendering: far more than any conversation needs, and an end for a loop without one.
const FUEL: u64 = 2_000_000;

impl ChatTemplate {
    /// A template from its text, with the tokens that it may write.
    ///
    /// # Errors
    /// [`ServeError::ChatTemplate`] when the text is no template.
    pub fn new(source: String, bos_token: &str, eos_token: &str) -> Result<Self, ServeError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |reason: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        });
        environment.add_function("strftime_now", |format: String| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            strftime(&format, now.as_secs())
        });
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| ServeError::ChatTemplate { reason: error.to_string() })?;
        Ok(Self { environment, bos_token: bos_token.to_owned(), eos_token: eos_token.to_owned() })
    }

    /// The conversation as a prompt for the assistant's next turn.
    ///
    /// # Errors
    /// What the template refuses, in its own words.
    pub fn render(&self, messages: &[Message]) -> Result<String, String> {
        let render = || {
            self.environment.get_template(NAME)?.render(context! {
                messages => messages,
                bos_token => self.bos_token,
                eos_token => self.eos_token,
                add_generation_prompt => true,
            })
        };
        render().map_err(|error| error.detail().map_or_else(|| error.to_string(), str::to_owned))
    }
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which transformers puts in place of Jinja's own
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

/// A conversation by an instruction template, for models without a chat template. Each turn of the user is one prompt of
/// the template: a system message before it is its instruction and the user's text its input; without one, the user's
/// text is the instruction. The assistant's answers follow their prompts, with an empty line before the next.
///
/// # Errors
/// A sentence when a role has no place in it or the last turn is not the user's.
pub(crate) fn by_instructions(text: &dyn SourceText, messages: &[Message]) -> Result<String, String> {
    let mut prompt = String::new();
    let mut system = String::new();
    for message in messages {
        let content = message.content.trim();
        match message.role.as_str() {
            "system" | "developer" => {
                if !system.is_empty() {
                    system.push('\n');
                }
                system.push_str(content);
            }
            "user" => {
                if !prompt.is_empty() {
                    prompt.push_str("\n\n");
                }
                let (instruction, input) =
                    if system.is_empty() { (content, "") } else { (&*system, content) };
                prompt.push_str(&text.instruction_prompt(instruction, input));
                system.clear();
            }
            "assistant" => prompt.push_str(content),
            other => {
                return Err(format!(
                    "role `{other}` has no place in this model's prompt template; expected system, user or assistant"
                ));
            }
        }
    }
    match messages.last() {
        Some(last) if last.role == "user" => Ok(prompt),
        Some(last) => Err(format!("the last message is of role `{}`; expected `user`", last.role)),
        None => Err("`messages` is empty; expected at least one".to_owned()),
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
