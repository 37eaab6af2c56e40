//! Python's methods of texts, lists and dictionaries: those of `minijinja_contrib::pycompat` within the bounds of a
//! rendering, and those it lacks.

use minijinja::value::{ValueKind, from_args};
use minijinja::{Error, ErrorKind, FormatStyle, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::budget::take;
use super::python::{formatted, join, replace, wrong};

/// Calls a method that minijinja does not know.
pub(super) fn call(
    state: &State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        take(2 * text.len())?;
        if let Some(result) = of_text(text, method, arguments)? {
            return Ok(result);
        }
    } else if value.kind() == ValueKind::Seq && method == "index" {
        let (sought,): (&Value,) = from_args(arguments)?;
        let place = value.try_iter()?.position(|element| element == *sought);
        return place.map(Value::from).ok_or_else(|| wrong(format!("{sought} is not in list")));
    }
    unknown_method_callback(state, value, method, arguments)
}

fn of_text(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let padded = |place: fn(usize) -> usize| -> Result<Value, Error> {
        let (width, fill): (usize, Option<&str>) = from_args(arguments)?;
        if width > 10_000 {
            return Err(wrong("a width is more than 10000"));
        }
        let missing = width.saturating_sub(text.chars().count());
        let (fill, before) = (fill.unwrap_or(" "), place(missing));
        Ok(Value::from([&fill.repeat(before), text, &fill.repeat(missing - before)].concat()))
    };
    let parts = |found: Option<usize>, between: &str, missing: [&str; 3]| {
        let parts = found.map_or(missing, |at| [&text[..at], between, &text[at + between.len()..]]);
        Value::from(parts.map(Value::from).to_vec())
    };
    Ok(Some(match method {
        "join" => {
            let (values,): (&Value,) = from_args(arguments)?;
            join(values, text)?.into()
        }
        "replace" => {
            let (old, new, count): (&str, &str, Option<i64>) = from_args(arguments)?;
            replace(text, old, new, count.and_then(|count| usize::try_from(count).ok()))?.into()
        }
        "format" => formatted(FormatStyle::StrFormat, text, arguments)?.into(),
        "removeprefix" | "removesuffix" => {
            let (part,): (&str,) = from_args(arguments)?;
            let rest =
                if method == "removeprefix" { text.strip_prefix(part) } else { text.strip_suffix(part) };
            rest.unwrap_or(text).into()
        }
        "partition" | "rpartition" => {
            let (between,): (&str,) = from_args(arguments)?;
            if between.is_empty() {
                return Err(wrong("empty separator"));
            }
            if method == "partition" {
                parts(text.find(between), between, [text, "", ""])
            } else {
                parts(text.rfind(between), between, ["", "", text])
            }
        }
        "rsplit" => {
            let (between, most): (Option<&str>, Option<i64>) = from_args(arguments)?;
            let most = most
                .and_then(|most| usize::try_from(most).ok())
                .map_or(usize::MAX, |most| most.saturating_add(1));
            let Some(between) = between else {
                return Err(Error::new(ErrorKind::UnknownMethod, "rsplit needs a separator here"));
            };
            let mut pieces: Vec<Value> = text.rsplitn(most, between).map(Value::from).collect();
            pieces.reverse();
            pieces.into()
        }
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(arguments)?;
            let found = if method == "index" { text.find(part) } else { text.rfind(part) };
            let place = found.map(|at| text[..at].chars().count());
            place.map(Value::from).ok_or_else(|| wrong("substring not found"))?
        }
        "zfill" => {
            let (width,): (usize,) = from_args(arguments)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            let zeros = width.min(10_000).saturating_sub(text.chars().count());
            [sign, &"0".repeat(zeros), digits].concat().into()
        }
        "ljust" => padded(|_| 0)?,
        "rjust" => padded(|missing| missing)?,
        "center" => padded(|missing| missing / 2)?,
        "casefold" => text.to_lowercase().into(),
        "swapcase" => {
            let swapped = text.chars().map(|c| -> String {
                if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
            });
            swapped.collect::<String>().into()
        }
        _ => return Ok(None),
    }))
}
