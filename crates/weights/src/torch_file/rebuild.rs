//! Calls of the names that a tensor file may use: they rebuild tensors and dictionaries.

use super::globals::Global;
use super::heap::{Heap, Storage, TensorView, Value};

impl Global {
    /// Calls it with `arguments` (a tuple); `Err` says what was expected instead.
    pub(super) fn call<'a>(
        self,
        heap: &mut Heap<'a>,
        arguments: Value<'a>,
    ) -> Result<Value<'a>, &'static str> {
        let arguments = heap.items(arguments).filter(|arguments| arguments.len() <= MAX_ARGUMENTS);
        let arguments = arguments.ok_or("a tuple of at most 8 arguments")?.to_vec();
        match (self, arguments.as_slice()) {
            (Self::OrderedDict, []) => Ok(heap.dict(Vec::new())),
            (Self::OrderedDict, [Value::List(list)]) => {
                heap.copy(heap.sequences.get(*list).map_or(0, Vec::len))?;
                let pair = |value: &Value<'a>| match *value {
                    Value::Tuple(index) | Value::List(index) => match heap.sequences.get(index)?.as_slice() {
                        [key, value] => Some((*key, *value)),
                        _ => None,
                    },
                    _ => None,
                };
                let pairs: Option<Vec<_>> =
                    heap.sequences.get(*list).and_then(|list| list.iter().map(pair).collect());
                Ok(heap.dict(pairs.ok_or("a list of pairs")?))
            }
            (Self::Size, [size @ Value::Tuple(_)]) => Ok(*size),
            (Self::RebuildTensor, [Value::Storage(storage), Value::Int(offset), shape, strides, ..]) => {
                heap.copy(heap.items(*shape).map_or(0, <[_]>::len))?;
                let view = TensorView {
                    storage: *storage,
                    offset: u64::try_from(*offset).map_err(|_| "an offset that is not negative")?,
                    shape: sizes(heap, *shape).ok_or("a tuple of sizes")?,
                    strides: sizes(heap, *strides).ok_or("a tuple of strides")?,
                };
                Ok(heap.tensor(view))
            }
            (Self::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => Ok(*tensor),
            _ => Err("arguments of a tensor, a parameter or an OrderedDict"),
        }
    }
}

/// Most arguments of a call; `_rebuild_tensor_v2` has seven.
const MAX_ARGUMENTS: usize = 8;
/// Most dimensions a tensor has here; libtorch's own limit for most operations.
const MAX_DIMS: usize = 64;

fn sizes(heap: &Heap<'_>, tuple: Value<'_>) -> Option<Vec<i64>> {
    let Value::Tuple(index) = tuple else { return None };
    let items = heap.sequences.get(index).filter(|items| items.len() <= MAX_DIMS)?;
    items.iter().map(|item| if let Value::Int(size) = item { Some(*size) } else { None }).collect()
}

/// Reads the storage that a persistent id names: `('storage', class, key, location, numel)`, in old files with a sixth item
/// `None` or `(view key, first element, elements)`.
pub(super) fn storage<'a>(heap: &Heap<'a>, id: Value<'a>) -> Option<Storage<'a>> {
    let (class, key, numel, view) = match heap.items(id)? {
        [
            Value::Text("storage"),
            Value::Global(class),
            Value::Text(key),
            Value::Text(_),
            Value::Int(numel),
        ] => (class, key, numel, Value::None),
        [
            Value::Text("storage"),
            Value::Global(class),
            Value::Text(key),
            Value::Text(_),
            Value::Int(numel),
            view,
        ] => (class, key, numel, *view),
        _ => return None,
    };
    let Global::Storage(kind) = *class else { return None };
    let start = match (view, heap.items(view)) {
        (Value::None, _) => 0,
        (_, Some([Value::Text(_), Value::Int(start), Value::Int(_)])) => u64::try_from(*start).ok()?,
        _ => return None,
    };
    Some(Storage { key, kind, numel: u64::try_from(*numel).ok()?, start })
}
