//! Python's operators and texts, within the bounds of a rendering.

use std::fmt::Write;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, FormatStyle, State, Value, format_filter};

use super::budget::{Output, generate, take};
use super::dialect::{ADD, CONCAT, GENERATION, MODULO, SLICE};

/// Bytes that an element of a list takes.
const ELEMENT: usize = 32;
/// Largest width of a field: wider ones are refused, before they fill the memory.
const MAX_WIDTH: i64 = 10_000;

/// Makes the operators, and what else makes texts out of others, known to `environment`.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_function(ADD, add);
    environment.add_function(CONCAT, |left: &Value, right: &Value| -> Result<String, Error> {
        let (left, right) = (text(left)?, text(right)?);
        take(left.len() + right.len())?;
        Ok(left + &right)
    });
    environment.add_function(MODULO, modulo);
    environment.add_function(SLICE, slice);
    environment.add_function(GENERATION, |state: &State<'_, '_>, options: minijinja::value::Kwargs| {
        let caller: Value = options.get("caller")?;
        let text = caller.call(state, &[])?;
        generate(text.as_str().unwrap_or_default())?;
        Ok::<_, Error>(text)
    });
    environment.add_filter("string", |value: &Value| text(value));
    environment.add_filter("join", |values: &Value, between: Option<&str>| {
        join(values, between.unwrap_or_default())
    });
    environment.add_filter("replace", |value: &Value, old: &Value, new: &Value, count: Option<usize>| {
        replace(&text(value)?, &text(old)?, &text(new)?, count)
    });
    environment.add_filter("indent", indent);
    environment.add_filter("format", |format: &str, arguments: Rest<Value>| printf(format, &arguments));
    environment.set_formatter(|output, _, value| {
        let text = text(value)?;
        output.write_str(&text).map_err(|_| wrong("the chat template makes too much text"))
    });
}

pub(super) fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}

/// Returns Python's name of a value's type.
fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Map => "dict",
        _ => "list",
    }
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

/// Computes `str(value)`.
pub(super) fn text(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        take(text.len())?;
        return Ok(text.to_owned());
    }
    if !is_list(value) && value.kind() != ValueKind::Map {
        return Ok(value.to_string());
    }
    let mut output = Output::default();
    write_repr(value, &mut output)?;
    Ok(output.0)
}

/// Writes `repr(value)`.
fn write_repr(value: &Value, output: &mut Output) -> Result<(), Error> {
    let full = |_| wrong("the chat template makes too much text");
    if let Some(text) = value.as_str() {
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        let mut quoted = String::from(quote);
        for c in text.chars() {
            match c {
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\\' => quoted.push_str("\\\\"),
                c if c == quote => quoted.extend(['\\', c]),
                c if c.is_ascii_control() => {
                    let _ = write!(quoted, "\\x{:02x}", u32::from(c));
                }
                c => quoted.push(c),
            }
        }
        quoted.push(quote);
        return output.write_str(&quoted).map_err(full);
    }
    let is_map = value.kind() == ValueKind::Map;
    if !is_map && !is_list(value) {
        return write!(output, "{value}").map_err(full);
    }
    output.write_str(if is_map { "{" } else { "[" }).map_err(full)?;
    for (index, element) in value.try_iter()?.enumerate() {
        if index > 0 {
            output.write_str(", ").map_err(full)?;
        }
        write_repr(&element, output)?;
        if is_map {
            output.write_str(": ").map_err(full)?;
            write_repr(&value.get_item(&element)?, output)?;
        }
    }
    output.write_str(if is_map { "}" } else { "]" }).map_err(full)
}

/// Computes `left + right`.
fn add(left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        take(a.len() + b.len())?;
        return Ok(Value::from([a, b].concat()));
    }
    if is_list(left) && is_list(right) {
        let elements = left.try_iter()?.chain(right.try_iter()?);
        return Ok(Value::from(list(elements)?));
    }
    let numbers = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    if numbers(left) && numbers(right) {
        let whole = |value: &Value| if is_whole(value) { i64::try_from(value.clone()).ok() } else { None };
        return match (whole(left), whole(right)) {
            (Some(a), Some(b)) => {
                a.checked_add(b).map(Value::from).ok_or_else(|| wrong(format!("{a} + {b} is too large")))
            }
            _ => Ok(Value::from(f64::try_from(left.clone())? + f64::try_from(right.clone())?)),
        };
    }
    if left.is_undefined() || right.is_undefined() {
        return Err(wrong("the chat template adds a value that is undefined"));
    }
    Err(wrong(match left.as_str() {
        Some(_) => format!("can only concatenate str (not \"{}\") to str", type_name(right)),
        None => {
            format!("unsupported operand type(s) for +: '{}' and '{}'", type_name(left), type_name(right))
        }
    }))
}

fn is_whole(value: &Value) -> bool {
    value.is_integer() || value.kind() == ValueKind::Bool
}

/// Collects elements within the bounds.
fn list(elements: impl Iterator<Item = Value>) -> Result<Vec<Value>, Error> {
    elements.map(|element| take(ELEMENT).map(|()| element)).collect()
}

/// Computes `left % right`: the remainder, or texts put into a format.
fn modulo(left: &Value, right: &Value) -> Result<Value, Error> {
    if let Some(format) = left.as_str() {
        let fields = format.replace("%%", "").matches('%').count();
        // A tuple has a value for each field; templates have no other way to tell it from a list.
        let arguments = if is_list(right) && fields != 1 || right.len() == Some(1) && is_list(right) {
            list(right.try_iter()?)?
        } else {
            vec![right.clone()]
        };
        if fields < arguments.len() && right.kind() != ValueKind::Map {
            return Err(wrong("not all arguments converted during string formatting"));
        }
        return printf(format, &arguments).map(Value::from);
    }
    if is_whole(left) && is_whole(right) {
        let (a, b) = (i64::try_from(left.clone())?, i64::try_from(right.clone())?);
        // The sign of the divisor.
        let remainder =
            a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest });
        return remainder.map(Value::from).ok_or_else(|| wrong("integer modulo by zero"));
    }
    let number = |value: &Value| {
        f64::try_from(value.clone()).map_err(|_| {
            let (left, right) = (type_name(left), type_name(right));
            wrong(format!("unsupported operand type(s) for %: '{left}' and '{right}'"))
        })
    };
    let (a, b) = (number(left)?, number(right)?);
    if b == 0.0 {
        return Err(wrong("float modulo by zero"));
    }
    let rest = a % b;
    Ok(Value::from(if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }))
}

/// Computes `format % arguments`.
fn printf(format: &str, arguments: &[Value]) -> Result<String, Error> {
    formatted(FormatStyle::Printf, format, arguments)
}

/// Puts arguments into a format, lists and dictionaries as Python writes them.
pub(super) fn formatted(style: FormatStyle, format: &str, arguments: &[Value]) -> Result<String, Error> {
    let widths = format.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let given = arguments.iter().filter(|_| format.contains('*')).filter_map(Value::as_i64);
    if widths.map(|digits| digits.parse().unwrap_or(i64::MAX)).chain(given).any(|width| width > MAX_WIDTH) {
        return Err(wrong(format!("a number in a format is more than {MAX_WIDTH}")));
    }
    let mut plain = Vec::with_capacity(arguments.len());
    let mut longest = MAX_WIDTH as usize;
    for argument in arguments {
        let argument = if is_list(argument) { Value::from(text(argument)?) } else { argument.clone() };
        longest = longest.max(argument.as_str().map_or(0, str::len));
        plain.push(argument);
    }
    let fields = format.matches(['%', '{']).count();
    if fields * longest > (1 << 20) {
        take(fields * longest)?;
    }
    let text = format_filter(style, format, &plain)?;
    take(text.len())?;
    Ok(text)
}

/// Computes `value[start:stop:step]`, by the rules of Python's `slice.indices`.
fn slice(value: &Value, start: Option<i64>, stop: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(wrong("slice step cannot be zero"));
    }
    let indices = |len: usize| {
        let len = len as i64;
        let (lowest, highest) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let place = |index: Option<i64>, default: i64| {
            index.map_or(default, |index| {
                (if index < 0 { index.saturating_add(len) } else { index }).clamp(lowest, highest)
            })
        };
        let (start, stop) = if step > 0 {
            (place(start, lowest), place(stop, highest))
        } else {
            (place(start, highest), place(stop, lowest))
        };
        std::iter::successors(Some(start), move |index| index.checked_add(step))
            .take_while(move |&index| if step > 0 { index < stop } else { index > stop })
    };
    if let Some(text) = value.as_str() {
        take(4 * text.len())?;
        let characters: Vec<char> = text.chars().collect();
        let picked: String =
            indices(characters.len()).filter_map(|index| characters.get(index as usize)).collect();
        return Ok(Value::from(picked));
    }
    if !is_list(value) {
        return Err(wrong(format!("'{}' object cannot be sliced", type_name(value))));
    }
    let elements = list(value.try_iter()?)?;
    let picked: Vec<Value> =
        indices(elements.len()).filter_map(|index| elements.get(index as usize)).cloned().collect();
    Ok(Value::from(picked))
}

/// Computes `between.join(values)`.
pub(super) fn join(values: &Value, between: &str) -> Result<String, Error> {
    let mut joined = String::new();
    for (index, value) in values.try_iter()?.enumerate() {
        let text = text(&value)?;
        take(text.len() + between.len())?;
        if index > 0 {
            joined.push_str(between);
        }
        joined.push_str(&text);
    }
    Ok(joined)
}

/// Computes `text.replace(old, new, count)`.
pub(super) fn replace(text: &str, old: &str, new: &str, count: Option<usize>) -> Result<String, Error> {
    let found = text.matches(old).count().min(count.unwrap_or(usize::MAX));
    take(text.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(text.replacen(old, new, count.unwrap_or(usize::MAX)))
}

/// Indents, as Jinja's filter does: the lines but the first behind `width` spaces or a text, blank ones only with `blank`.
#[expect(clippy::needless_pass_by_value, reason = "minijinja gives keyword arguments by value")]
fn indent(
    text: &str,
    width: Option<&Value>,
    first: Option<bool>,
    blank: Option<bool>,
    options: minijinja::value::Kwargs,
) -> Result<String, Error> {
    let given: Option<Value> = options.get("width")?;
    let width = width.cloned().or(given).unwrap_or(Value::from(4));
    let first = first.or(options.get("first")?).unwrap_or(false);
    let blank = blank.or(options.get("blank")?).unwrap_or(false);
    options.assert_all_used()?;
    let indention = match (width.as_str(), width.as_i64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(width)) if width <= MAX_WIDTH => " ".repeat(width.max(0) as usize),
        _ => return Err(wrong(format!("indent takes a width of at most {MAX_WIDTH}"))),
    };
    take(text.len() + (text.matches('\n').count() + 1) * indention.len())?;
    let lines = text.split('\n').enumerate().map(|(index, line)| {
        let indented = if index == 0 { first } else { blank || !line.is_empty() };
        if indented { format!("{indention}{line}") } else { line.to_owned() }
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}
