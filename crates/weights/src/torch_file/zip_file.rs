//! Torch files since PyTorch 1.6: a zip archive of a pickle and one record for each storage.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::TorchFileError;
use super::machine::unpickle;
use super::state_dict::tensors;
use crate::placed::Placed;

/// First bytes of a zip archive.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// First bytes of the end of its directory, which is at most this many bytes before the end of the file (a fixed
/// record of 22 bytes and a comment of at most 65,535).
const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
const MAX_END_BYTES: usize = 22 + 65_535;

/// Reads the named tensors of a zip archive.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, Placed)>, TorchFileError> {
    let records = records(bytes)?;
    let is_pickle = |name: &&String| *name == "data.pkl" || name.ends_with("/data.pkl");
    let pickle = records.keys().filter(is_pickle).min_by_key(|name| name.len());
    let pickle = pickle.ok_or(TorchFileError::NotTorch)?;
    let folder = pickle.trim_end_matches("data.pkl");
    let record = |name: &str| records.get(&format!("{folder}{name}"));
    if record("constants.pkl").is_some() {
        return Err(TorchFileError::TorchScript);
    }
    if record("byteorder").is_some_and(|range| bytes[range.clone()].starts_with(b"big")) {
        return Err(TorchFileError::BigEndian);
    }
    let unpickled = unpickle(&bytes[records[pickle].clone()])?;
    tensors(&unpickled.heap, unpickled.root, |storage| {
        let record = record(&format!("data/{}", storage.key));
        let range = record.ok_or_else(|| TorchFileError::MissingStorage { key: storage.key.to_owned() })?;
        Ok((range.start, range.len()))
    })
}

/// Finds the content of each record in the file.
fn records(bytes: &[u8]) -> Result<HashMap<String, Range<usize>>, TorchFileError> {
    // The zip reader would look for the end of the directory through the whole of a truncated file.
    let tail = &bytes[bytes.len().saturating_sub(MAX_END_BYTES)..];
    if !tail.windows(END_OF_DIRECTORY.len()).any(|window| window == END_OF_DIRECTORY) {
        return Err(TorchFileError::NoZipDirectory);
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(TorchFileError::Zip)?;
    let mut records = HashMap::new();
    for index in 0..archive.len() {
        let record = archive.by_index_raw(index).map_err(TorchFileError::Zip)?;
        let name = record.name().to_owned();
        if record.encrypted() || record.compression() != CompressionMethod::Stored {
            return Err(TorchFileError::Compressed { record: name });
        }
        let start = record.data_start().and_then(|start| usize::try_from(start).ok());
        let len = usize::try_from(record.compressed_size()).ok();
        let end = start.zip(len).and_then(|(start, len)| start.checked_add(len));
        match start.zip(end) {
            Some((start, end)) if end <= bytes.len() => records.insert(name, start..end),
            _ => return Err(TorchFileError::NoZipDirectory),
        };
    }
    Ok(records)
}
