//! Torch files before PyTorch 1.6: five pickles (a magic number, a protocol version, facts about the machine, the
//! object, the keys of its storages), then each storage as its length in elements and its bytes.

use std::collections::HashMap;

use super::TorchFileError;
use super::cursor::Cursor;
use super::heap::Value;
use super::machine::unpickle;
use super::state_dict::{Memory, tensors};
use crate::placed::Placed;

/// `0x1950a86a20f9469cfc6c` as a pickled integer.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Reads the named tensors of an old torch file.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, Placed)>, TorchFileError> {
    let mut at = 0;
    let mut next = || {
        let unpickled = unpickle(&bytes[at..])?;
        at += unpickled.len;
        Ok::<_, TorchFileError>(unpickled)
    };
    // A pickle of anything else is most likely refused for the names in it, which is what to report then.
    if next()?.root != Value::Long(&MAGIC) || next()?.root != Value::Int(PROTOCOL) {
        return Err(TorchFileError::NotTorchPickle);
    }
    let machine = next()?;
    if machine.heap.get(machine.root, "little_endian") == Some(Value::Bool(false)) {
        return Err(TorchFileError::BigEndian);
    }
    let object = next()?;
    let keys = next()?;
    let Value::List(list) = keys.root else {
        return Err(TorchFileError::Malformed { expected: "a list of storage keys", offset: at });
    };

    // The raw part does not say how large an element is: that is known from whoever uses the storage.
    let sizes: HashMap<&str, usize> =
        object.heap.storages.iter().map(|storage| (storage.key, storage.kind.elt_size_in_bytes())).collect();
    let mut storages: HashMap<&str, Memory> = HashMap::new();
    let mut raw = Cursor::new(&bytes[at..]);
    for key in &keys.heap.sequences[list] {
        let (key, size) = match key {
            Value::Text(key) => (*key, sizes.get(key)),
            _ => return Err(TorchFileError::Malformed { expected: "a storage key", offset: at }),
        };
        let size = *size.ok_or_else(|| TorchFileError::MissingStorage { key: key.to_owned() })?;
        let expected = raw.u64()?.saturating_mul(size as u64);
        let start = at + raw.position();
        let memory = raw.take(expected).map_err(|_| TorchFileError::TruncatedStorage {
            key: key.to_owned(),
            expected,
            actual: (bytes.len() - start) as u64,
        })?;
        storages.insert(key, (start, memory.len()));
    }
    tensors(&object.heap, object.root, |storage| {
        let memory = storages.get(storage.key).copied();
        memory.ok_or_else(|| TorchFileError::MissingStorage { key: storage.key.to_owned() })
    })
}
