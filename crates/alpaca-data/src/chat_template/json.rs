//! The filter `tojson`, which transformers puts in place of Jinja's own: Python's `json.dumps(value,
//! ensure_ascii=False)`, with its other arguments.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, Value};

use super::budget::Output;
use super::python::wrong;

/// Arguments of `json.dumps`.
struct Style {
    ensure_ascii: bool,
    /// Text of one level, where the elements stand on lines of their own.
    indent: Option<String>,
    /// Between elements, and between a key and its value.
    separators: (String, String),
    sort_keys: bool,
}

/// Writes JSON: `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
#[expect(clippy::needless_pass_by_value, reason = "minijinja gives arguments by value")]
pub(super) fn to_json(value: &Value, given: Rest<Value>, options: Kwargs) -> Result<String, Error> {
    let argument = |index: usize, name: &str| -> Result<Value, Error> {
        let named: Option<Value> = options.get(name)?;
        let value = given.get(index).cloned().or(named).unwrap_or_default();
        Ok(if value.is_undefined() { Value::from(()) } else { value })
    };
    let indent = argument(1, "indent")?;
    let indent = match (indent.as_str(), indent.as_i64()) {
        _ if indent.is_none() => None,
        (Some(text), _) => Some(text.to_owned()),
        (None, Some(width)) if width <= 64 => Some(" ".repeat(width.max(0) as usize)),
        _ => return Err(wrong("tojson takes an indent of at most 64")),
    };
    let separators = argument(2, "separators")?;
    let separators = if separators.is_none() {
        (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned())
    } else {
        let part = |index: usize| -> Result<String, Error> {
            let part = separators.get_item(&Value::from(index))?;
            part.as_str().map(str::to_owned).ok_or_else(|| wrong("tojson takes two texts as separators"))
        };
        (part(0)?, part(1)?)
    };
    let style = Style {
        ensure_ascii: argument(0, "ensure_ascii")?.is_true(),
        indent,
        separators,
        sort_keys: argument(3, "sort_keys")?.is_true(),
    };
    options.assert_all_used()?;
    let mut output = Output::default();
    style.write(value, 0, &mut output)?;
    Ok(output.0)
}

impl Style {
    fn write(&self, value: &Value, depth: usize, output: &mut Output) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => put(output, "null"),
            ValueKind::Bool => put(output, if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => put(output, &number(value)),
            ValueKind::String => put(output, &self.quoted(value.as_str().unwrap_or_default())),
            ValueKind::Seq | ValueKind::Iterable => {
                let elements = value.try_iter()?.map(|element| (None, element));
                self.write_all(["[", "]"], elements, depth, output)
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                let entries = keys.into_iter().map(|key| {
                    let element = value.get_item(&key).unwrap_or_default();
                    (Some(key), element)
                });
                self.write_all(["{", "}"], entries, depth, output)
            }
            other => Err(wrong(format!("a value of type {other} is not JSON serializable"))),
        }
    }

    fn write_all(
        &self,
        [open, close]: [&str; 2],
        elements: impl Iterator<Item = (Option<Value>, Value)>,
        depth: usize,
        output: &mut Output,
    ) -> Result<(), Error> {
        put(output, open)?;
        let mut empty = true;
        for (key, element) in elements {
            if !std::mem::take(&mut empty) {
                put(output, &self.separators.0)?;
            }
            self.line(depth + 1, output)?;
            if let Some(key) = key {
                put(output, &self.quoted(&key_text(&key)))?;
                put(output, &self.separators.1)?;
            }
            self.write(&element, depth + 1, output)?;
        }
        if !empty {
            self.line(depth, output)?;
        }
        put(output, close)
    }

    fn line(&self, depth: usize, output: &mut Output) -> Result<(), Error> {
        match &self.indent {
            Some(indent) => put(output, &format!("\n{}", indent.repeat(depth))),
            None => Ok(()),
        }
    }

    fn quoted(&self, text: &str) -> String {
        let mut quoted = String::from('"');
        for c in text.chars() {
            match c {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\u{8}' => quoted.push_str("\\b"),
                '\u{c}' => quoted.push_str("\\f"),
                c if u32::from(c) < 0x20 || self.ensure_ascii && !(' '..='~').contains(&c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(quoted, "\\u{unit:04x}");
                    }
                }
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        quoted
    }
}

fn put(output: &mut Output, text: &str) -> Result<(), Error> {
    output.write_str(text).map_err(|_| wrong("the chat template makes too much text"))
}

/// Writes a key as Python writes it.
fn key_text(key: &Value) -> String {
    match key.kind() {
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
        _ => key.as_str().map_or_else(|| number(key), str::to_owned),
    }
}

/// Writes `repr` of a number: with an exponent where Python has one.
fn number(value: &Value) -> String {
    let text = value.to_string();
    let Some(float) = (!value.is_integer()).then(|| f64::try_from(value.clone()).ok()).flatten() else {
        return text;
    };
    if !float.is_finite() {
        return if float.is_nan() {
            "NaN"
        } else if float > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    if float != 0.0 && !(1e-4..1e16).contains(&float.abs()) {
        let text = format!("{float:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    text
}
