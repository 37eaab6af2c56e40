//! The pickle of a state dictionary, as `torch.load(weights_only=True)` reads it: protocol 2, plain storages.

use tch::Kind;

use crate::TensorSpec;

/// A pickle being written. Names of opcodes are those of Python's `pickletools`.
#[derive(Debug, Default)]
pub(super) struct Pickle(Vec<u8>);

/// Writes the class of a storage.
pub(super) fn storage_class(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Double => "DoubleStorage",
        Kind::Float => "FloatStorage",
        Kind::Half => "HalfStorage",
        Kind::BFloat16 => "BFloat16Storage",
        Kind::Int64 => "LongStorage",
        Kind::Int => "IntStorage",
        Kind::Int16 => "ShortStorage",
        Kind::Int8 => "CharStorage",
        Kind::Uint8 => "ByteStorage",
        Kind::Bool => "BoolStorage",
        _ => return None,
    })
}

impl Pickle {
    /// Writes the dictionary of `entries`: a name, the tensor, its storage's class and key.
    pub(super) fn dictionary<'a>(
        entries: impl Iterator<Item = (&'a str, &'a TensorSpec, &'static str, usize)>,
    ) -> Vec<u8> {
        let mut pickle = Self::default();
        pickle.0.extend(b"\x80\x02}("); // PROTO 2, EMPTY_DICT, MARK
        for (name, spec, class, key) in entries {
            pickle.text(name);
            pickle.tensor(spec, class, key);
        }
        pickle.0.extend(b"u."); // SETITEMS, STOP
        pickle.0
    }

    /// Writes `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
    fn tensor(&mut self, spec: &TensorSpec, class: &str, key: usize) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.push(b'('); // MARK
        self.0.push(b'(');
        self.text("storage");
        self.global("torch", class);
        self.text(&key.to_string());
        self.text("cpu");
        self.int(spec.num_elements() as i64);
        self.0.extend(b"tQ"); // TUPLE, BINPERSID
        self.int(0);
        self.tuple(&spec.shape);
        self.tuple(&strides(&spec.shape));
        self.0.push(0x89); // NEWFALSE
        self.global("collections", "OrderedDict");
        self.0.extend(b")RtR"); // EMPTY_TUPLE, REDUCE; TUPLE, REDUCE
    }

    fn text(&mut self, text: &str) {
        self.0.push(b'X'); // BINUNICODE
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn int(&mut self, value: i64) {
        if let Ok(value) = i32::try_from(value) {
            self.0.push(b'J'); // BININT
            self.0.extend(value.to_le_bytes());
        } else {
            self.0.extend([0x8a, 8]); // LONG1
            self.0.extend(value.to_le_bytes());
        }
    }

    fn tuple(&mut self, values: &[i64]) {
        self.0.push(b'(');
        for &value in values {
            self.int(value);
        }
        self.0.push(b't');
    }
}

/// Returns the strides, in elements, of a tensor whose elements lie one after another.
fn strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim].max(1);
    }
    strides
}
