//! The metadata of a GGUF file: keys and typed values.

use std::collections::BTreeMap;

use super::GgufError;
use super::cursor::Cursor;
use crate::limits::MAX_ARRAY;

/// Arrays in arrays, at most.
const MAX_DEPTH: usize = 4;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum GgufValue {
    /// An unsigned number of any width.
    Unsigned(u64),
    /// A signed number of any width.
    Signed(i64),
    /// A number of single precision.
    Float(f32),
    /// A number of double precision.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// Several values of one type.
    Array(GgufArray),
}

/// Several values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum GgufArray {
    /// Whole numbers of any width; those beyond 63 bits wrap.
    Integers(Vec<i64>),
    /// Numbers of single or double precision.
    Floats(Vec<f64>),
    /// Truth values.
    Bools(Vec<bool>),
    /// Texts.
    Texts(Vec<String>),
    /// Arrays.
    Arrays(Vec<GgufArray>),
}

/// Metadata of a file, by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufMetadata(pub(super) BTreeMap<String, GgufValue>);

impl GgufMetadata {
    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&GgufValue> {
        self.0.get(key)
    }

    /// Keys and values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &GgufValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl GgufValue {
    /// Returns a whole number that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(*value).ok(),
            Self::Signed(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns a number. One of single precision is taken for the decimal number it was written as: `1e-5`, not
    /// `9.999999747378752e-6`.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => value.to_string().parse().ok(),
            Self::Double(value) => Some(*value),
            _ => self.as_i64().map(|value| value as f64),
        }
    }

    /// Returns a truth value.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// Returns a text.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(value) = self { Some(value) } else { None }
    }

    /// Returns an array of texts.
    pub fn as_texts(&self) -> Option<&[String]> {
        if let Self::Array(GgufArray::Texts(values)) = self { Some(values) } else { None }
    }

    /// Returns an array of whole numbers.
    pub fn as_integers(&self) -> Option<&[i64]> {
        if let Self::Array(GgufArray::Integers(values)) = self { Some(values) } else { None }
    }

    /// Returns an array of numbers of single or double precision.
    pub fn as_floats(&self) -> Option<&[f64]> {
        if let Self::Array(GgufArray::Floats(values)) = self { Some(values) } else { None }
    }
}

/// Reads the value that follows, with its type before it.
pub(super) fn read_value(cursor: &mut Cursor<'_>, key: &str) -> Result<GgufValue, GgufError> {
    let what = &|| format!("the value of `{key}`");
    let value_type = cursor.u32(what)?;
    read(cursor, value_type, what, 0)
}

/// Reads a value of the type of this number (`gguf_metadata_value_type`); `depth` arrays are around it.
fn read(
    cursor: &mut Cursor<'_>,
    value_type: u32,
    what: &dyn Fn() -> String,
    depth: usize,
) -> Result<GgufValue, GgufError> {
    Ok(match value_type {
        0 => GgufValue::Unsigned(u8::from_le_bytes(cursor.array(what)?).into()),
        1 => GgufValue::Signed(i8::from_le_bytes(cursor.array(what)?).into()),
        2 => GgufValue::Unsigned(u16::from_le_bytes(cursor.array(what)?).into()),
        3 => GgufValue::Signed(i16::from_le_bytes(cursor.array(what)?).into()),
        4 => GgufValue::Unsigned(cursor.u32(what)?.into()),
        5 => GgufValue::Signed(i32::from_le_bytes(cursor.array(what)?).into()),
        6 => GgufValue::Float(f32::from_le_bytes(cursor.array(what)?)),
        7 => GgufValue::Bool(cursor.array::<1>(what)? != [0]),
        8 => GgufValue::Text(cursor.text(what)?.to_owned()),
        9 => GgufValue::Array(read_array(cursor, what, depth)?),
        10 => GgufValue::Unsigned(cursor.u64(what)?),
        11 => GgufValue::Signed(i64::from_le_bytes(cursor.array(what)?)),
        12 => GgufValue::Double(f64::from_le_bytes(cursor.array(what)?)),
        actual => return Err(GgufError::ValueType { what: what(), actual }),
    })
}

fn read_array(
    cursor: &mut Cursor<'_>,
    what: &dyn Fn() -> String,
    depth: usize,
) -> Result<GgufArray, GgufError> {
    if depth == MAX_DEPTH {
        return Err(GgufError::Depth { what: what(), limit: MAX_DEPTH });
    }
    let element = cursor.u32(what)?;
    let count = cursor.u64(what)?;
    // A text has at least its length, an array its type and its length.
    let size = match element {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        actual => return Err(GgufError::ValueType { what: what(), actual }),
    };
    let count = cursor.expect(size, count, what)?;
    if count > MAX_ARRAY {
        let (what, actual) = (format!("elements in {}", what()), count as u64);
        return Err(GgufError::TooMany { what, actual, limit: MAX_ARRAY });
    }
    let mut array = match element {
        6 | 12 => GgufArray::Floats(Vec::with_capacity(count)),
        7 => GgufArray::Bools(Vec::with_capacity(count)),
        8 => GgufArray::Texts(Vec::with_capacity(count)),
        9 => GgufArray::Arrays(Vec::with_capacity(count)),
        _ => GgufArray::Integers(Vec::with_capacity(count)),
    };
    for _ in 0..count {
        match (&mut array, read(cursor, element, what, depth + 1)?) {
            (GgufArray::Integers(values), GgufValue::Unsigned(value)) => values.push(value.cast_signed()),
            (GgufArray::Integers(values), GgufValue::Signed(value)) => values.push(value),
            (GgufArray::Floats(values), GgufValue::Float(value)) => values.push(value.into()),
            (GgufArray::Floats(values), GgufValue::Double(value)) => values.push(value),
            (GgufArray::Bools(values), GgufValue::Bool(value)) => values.push(value),
            (GgufArray::Texts(values), GgufValue::Text(value)) => values.push(value),
            (GgufArray::Arrays(values), GgufValue::Array(value)) => values.push(value),
            // `read` gives what `element` says.
            _ => {}
        }
    }
    Ok(array)
}

/// Writes a value behind its type: whole numbers in 32 bits where they fit, else in 64.
pub(super) fn write_value(bytes: &mut Vec<u8>, value: &GgufValue) {
    let mut put = |value_type: u32, value: &[u8]| {
        bytes.extend(value_type.to_le_bytes());
        bytes.extend(value);
    };
    match value {
        GgufValue::Unsigned(value) => match u32::try_from(*value) {
            Ok(value) => put(4, &value.to_le_bytes()),
            Err(_) => put(10, &value.to_le_bytes()),
        },
        GgufValue::Signed(value) => match i32::try_from(*value) {
            Ok(value) => put(5, &value.to_le_bytes()),
            Err(_) => put(11, &value.to_le_bytes()),
        },
        GgufValue::Float(value) => put(6, &value.to_le_bytes()),
        GgufValue::Bool(value) => put(7, &[u8::from(*value)]),
        GgufValue::Double(value) => put(12, &value.to_le_bytes()),
        GgufValue::Text(value) => {
            put(8, &[]);
            write_text(bytes, value);
        }
        GgufValue::Array(array) => {
            put(9, &[]);
            write_array(bytes, array);
        }
    }
}

/// Writes a value: whole numbers go into 32 bits where all fit, numbers into single precision.
fn write_array(bytes: &mut Vec<u8>, array: &GgufArray) {
    let mut begin = |value_type: u32, len: usize| {
        bytes.extend(value_type.to_le_bytes());
        bytes.extend((len as u64).to_le_bytes());
    };
    match array {
        GgufArray::Integers(values) if values.iter().all(|&value| i32::try_from(value).is_ok()) => {
            begin(5, values.len());
            bytes.extend(values.iter().flat_map(|&value| (value as i32).to_le_bytes()));
        }
        GgufArray::Integers(values) => {
            begin(11, values.len());
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        GgufArray::Floats(values) => {
            begin(6, values.len());
            bytes.extend(values.iter().flat_map(|&value| (value as f32).to_le_bytes()));
        }
        GgufArray::Bools(values) => {
            begin(7, values.len());
            bytes.extend(values.iter().map(|&value| u8::from(value)));
        }
        GgufArray::Texts(values) => {
            begin(8, values.len());
            for value in values {
                write_text(bytes, value);
            }
        }
        GgufArray::Arrays(values) => {
            begin(9, values.len());
            for value in values {
                write_array(bytes, value);
            }
        }
    }
}

/// Writes a text: its length in bytes, then UTF-8.
pub(super) fn write_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
