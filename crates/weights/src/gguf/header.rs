//! The header of a GGUF file: metadata, and where each tensor lies.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::metadata::read_value;
use super::{GgmlType, GgufError, GgufMetadata};
use crate::limits::MAX_TENSORS;

/// First bytes of a file.
pub(super) const MAGIC: &[u8] = b"GGUF";
/// Most dimensions of a tensor (`GGML_MAX_DIMS`).
const MAX_DIMS: u32 = 4;
/// Alignment of tensors, in bytes, unless the file states another.
pub(super) const DEFAULT_ALIGNMENT: usize = 32;

/// A tensor's place, checked to lie inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ggml_type: GgmlType,
    /// Outermost dimension first, as libtorch has it; the file has it last.
    pub(super) shape: Vec<i64>,
    /// First byte, from the start of the file.
    pub(super) start: usize,
    pub(super) num_bytes: usize,
}

/// Contents of a header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metadata: GgufMetadata,
    pub(super) tensors: BTreeMap<String, Place>,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, GgufError> {
        if !bytes.starts_with(MAGIC) {
            return Err(GgufError::Magic);
        }
        let mut cursor = Cursor::new(bytes);
        cursor.take(MAGIC.len() as u64, &|| "the magic".to_owned())?;
        let version = cursor.u32(&|| "the version".to_owned())?;
        match version {
            2 | 3 => {}
            actual if matches!(actual.swap_bytes(), 1..=16) => return Err(GgufError::BigEndian),
            actual => return Err(GgufError::Version { actual }),
        }
        let num_tensors = cursor.u64(&|| "the number of tensors".to_owned())?;
        let num_keys = cursor.u64(&|| "the number of keys".to_owned())?;
        // The shortest entries: an empty name, a type and a byte; an empty name, no dimension, a type and an offset.
        let num_keys = cursor.expect(8 + 4 + 1, num_keys, &|| format!("metadata of {num_keys} keys"))?;
        let metadata = read_metadata(&mut cursor, num_keys)?;
        let num_tensors =
            cursor.expect(8 + 4 + 4 + 8, num_tensors, &|| format!("a list of {num_tensors} tensors"))?;
        if num_tensors > MAX_TENSORS {
            let (what, actual) = ("tensors".to_owned(), num_tensors as u64);
            return Err(GgufError::TooMany { what, actual, limit: MAX_TENSORS });
        }
        let entries = (0..num_tensors).map(|_| Entry::read(&mut cursor)).collect::<Result<Vec<_>, _>>()?;
        let alignment = alignment(&metadata)?;
        let data_start = cursor.offset().next_multiple_of(alignment);
        let mut tensors = BTreeMap::new();
        for entry in entries {
            let place = entry.place(data_start, alignment, bytes.len())?;
            if tensors.insert(entry.name.clone(), place).is_some() {
                return Err(GgufError::Repeated { what: format!("tensor `{}`", entry.name) });
            }
        }
        Ok(Self { version, metadata, tensors })
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, num_keys: usize) -> Result<GgufMetadata, GgufError> {
    let mut metadata = GgufMetadata::default();
    for index in 0..num_keys {
        let key = cursor.text(&|| format!("key {index} of the metadata"))?;
        let value = read_value(cursor, key)?;
        if metadata.0.insert(key.to_owned(), value).is_some() {
            return Err(GgufError::Repeated { what: format!("key `{key}`") });
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &GgufMetadata) -> Result<usize, GgufError> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    let alignment = value.as_i64().and_then(|alignment| u32::try_from(alignment).ok());
    alignment
        .filter(|alignment| *alignment >= 8 && alignment.is_power_of_two())
        .map(|alignment| alignment as usize)
        .ok_or_else(|| GgufError::Alignment { actual: format!("{value:?}") })
}

/// A tensor as the header lists it.
struct Entry {
    name: String,
    /// In the file's order: innermost first.
    dims: Vec<u64>,
    type_number: u32,
    /// From the start of the data.
    offset: u64,
}

impl Entry {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, GgufError> {
        let name = cursor.text(&|| "the name of a tensor".to_owned())?.to_owned();
        let what = &|| format!("the entry of tensor `{name}`");
        let num_dims = cursor.u32(what)?;
        if num_dims > MAX_DIMS {
            return Err(GgufError::Shape { name, shape: format!("of {num_dims} dimensions") });
        }
        let dims = (0..num_dims).map(|_| cursor.u64(what)).collect::<Result<_, _>>()?;
        let (type_number, offset) = (cursor.u32(what)?, cursor.u64(what)?);
        Ok(Self { name, dims, type_number, offset })
    }

    fn place(&self, data_start: usize, alignment: usize, file_len: usize) -> Result<Place, GgufError> {
        let Self { name, dims, offset, .. } = self;
        let ggml_type = GgmlType::from_number(self.type_number).map_err(|actual| GgufError::TensorType {
            name: name.clone(),
            actual,
            expected: GgmlType::WEIGHTS.map(GgmlType::name).join(", "),
        })?;
        let impossible = || GgufError::Shape { name: name.clone(), shape: format!("{dims:?}") };
        let shape: Vec<i64> = dims
            .iter()
            .rev()
            .map(|&len| i64::try_from(len))
            .collect::<Result<_, _>>()
            .map_err(|_| impossible())?;
        let num_elements =
            shape.iter().try_fold(1i64, |n, &len| n.checked_mul(len)).ok_or_else(impossible)?;
        let (block, block_bytes) = ggml_type.block();
        let row = shape.last().copied().unwrap_or(1);
        if row % block as i64 != 0 {
            let (name, ggml_type) = (name.clone(), ggml_type.name());
            return Err(GgufError::Row { name, actual: row, ggml_type, expected: block });
        }
        let num_bytes =
            (num_elements as u64 / block as u64).checked_mul(block_bytes as u64).ok_or_else(impossible)?;
        if offset % alignment as u64 != 0 {
            return Err(GgufError::Unaligned { name: name.clone(), actual: *offset, alignment });
        }
        let expected = (data_start as u64).saturating_add(*offset).saturating_add(num_bytes);
        if expected > file_len as u64 {
            return Err(GgufError::Outside { name: name.clone(), expected, actual: file_len as u64 });
        }
        // Both are within the file's length now.
        let (start, num_bytes) = (data_start + *offset as usize, num_bytes as usize);
        Ok(Place { ggml_type, shape, start, num_bytes })
    }
}
