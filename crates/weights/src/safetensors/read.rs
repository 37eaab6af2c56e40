//! Reading a safetensors header.

use std::collections::BTreeMap;
use std::path::Path;

use super::dtype;
use super::header::{Header, LENGTH_BYTES, MAX_HEADER_BYTES};
use crate::WeightsError;
use crate::placed::Placed;

/// Contents of a safetensors header.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    pub(crate) tensors: Vec<(String, Placed)>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Reads the header of the safetensors file `bytes`, and checks that the file is exactly as long as it promises.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<SafetensorsFile, WeightsError> {
    let actual = bytes.len() as u64;
    let truncated = |expected| WeightsError::Truncated { path: path.to_owned(), expected, actual };
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    let length = length.ok_or_else(|| truncated(LENGTH_BYTES))?;
    if length > MAX_HEADER_BYTES {
        return Err(WeightsError::HeaderSize {
            path: path.to_owned(),
            num_bytes: length,
            limit: MAX_HEADER_BYTES,
        });
    }
    let data_start = LENGTH_BYTES + length;
    let header =
        bytes.get(LENGTH_BYTES as usize..data_start as usize).ok_or_else(|| truncated(data_start))?;
    let Header(header) = serde_json::from_slice(header)
        .map_err(|source| WeightsError::Header { path: path.to_owned(), source })?;
    let expected = data_start.saturating_add(header.data_len() as u64);
    if actual < expected {
        return Err(truncated(expected));
    }
    if actual > expected {
        return Err(WeightsError::TrailingBytes { path: path.to_owned(), expected, actual });
    }
    let mut tensors = Vec::with_capacity(header.tensors().len());
    for (name, info) in header.tensors() {
        let unsupported = || WeightsError::Dtype {
            path: path.to_owned(),
            name: name.clone(),
            dtype: info.dtype.to_string(),
        };
        let kind = dtype::kind(info.dtype).ok_or_else(unsupported)?;
        let (start, end) = info.data_offsets;
        let shape = info.shape.iter().map(|&len| i64::try_from(len)).collect::<Result<Vec<_>, _>>();
        let placed = shape
            .ok()
            .and_then(|shape| Placed::contiguous(data_start as usize + start, end - start, shape, kind))
            .ok_or_else(|| truncated(expected))?;
        tensors.push((name, placed));
    }
    Ok(SafetensorsFile {
        tensors,
        metadata: header.metadata().clone().unwrap_or_default().into_iter().collect(),
    })
}
