//! The values a pickle of tensors is made of.

use tch::Kind;

use super::globals::Global;

/// A pickled value. Containers live in a [`Heap`] and are named by their index there, so values are plain data: a
/// pickle that nests or repeats itself without end costs no recursion here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, in two's complement, little-endian.
    Long(&'a [u8]),
    /// A number or byte string that no tensor needs; its content is not kept.
    Opaque,
    Text(&'a str),
    /// A tuple: index into [`Heap::sequences`].
    Tuple(usize),
    /// A list: index into [`Heap::sequences`].
    List(usize),
    /// A dictionary, ordered or not: index into [`Heap::dicts`].
    Dict(usize),
    /// Something called by name.
    Global(Global),
    /// Index into [`Heap::storages`].
    Storage(usize),
    /// Index into [`Heap::tensors`].
    Tensor(usize),
}

/// Memory that tensors look at, named by a persistent id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) kind: Kind,
    /// Size of the whole memory `key`, in elements.
    pub(super) numel: u64,
    /// First element of this storage in it (old files know storages inside storages).
    pub(super) start: u64,
}

/// A tensor as the arguments of its rebuilding describe it.
#[derive(Debug)]
pub(super) struct TensorView {
    /// Index into [`Heap::storages`].
    pub(super) storage: usize,
    /// First element, from the beginning of the storage.
    pub(super) offset: u64,
    pub(super) shape: Vec<i64>,
    /// In elements.
    pub(super) strides: Vec<i64>,
}

/// Everything one pickle has built.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pub(super) sequences: Vec<Vec<Value<'a>>>,
    /// Pairs in the order they were set; a later pair of the same key wins.
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<TensorView>,
    /// Items that calls have copied so far.
    copied: usize,
}

/// Most items that calls copy: a pickle names one list as often as it likes, at two bytes each time.
const MAX_COPIED: usize = 1 << 22;

impl<'a> Heap<'a> {
    /// Counts items that are about to be copied; `Err` says what was expected instead of so many.
    pub(super) fn copy(&mut self, items: usize) -> Result<(), &'static str> {
        self.copied = self.copied.saturating_add(items);
        if self.copied > MAX_COPIED { Err("fewer than 4194304 pairs and sizes in all") } else { Ok(()) }
    }

    pub(super) fn tuple(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        Value::Tuple(add(&mut self.sequences, items))
    }

    pub(super) fn list(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(add(&mut self.sequences, items))
    }

    pub(super) fn dict(&mut self, pairs: Vec<(Value<'a>, Value<'a>)>) -> Value<'a> {
        Value::Dict(add(&mut self.dicts, pairs))
    }

    pub(super) fn storage(&mut self, storage: Storage<'a>) -> Value<'a> {
        Value::Storage(add(&mut self.storages, storage))
    }

    pub(super) fn tensor(&mut self, view: TensorView) -> Value<'a> {
        Value::Tensor(add(&mut self.tensors, view))
    }

    /// Returns the items of a tuple; `None` of anything else.
    pub(super) fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(index) => self.sequences.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// Returns the pairs of a dictionary; `None` of anything else.
    pub(super) fn pairs(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match value {
            Value::Dict(index) => self.dicts.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// Returns the value of a text key in a dictionary.
    pub(super) fn get(&self, dict: Value<'a>, key: &str) -> Option<Value<'a>> {
        self.pairs(dict)?.iter().rev().find(|(k, _)| *k == Value::Text(key)).map(|(_, value)| *value)
    }
}

fn add<T>(all: &mut Vec<T>, one: T) -> usize {
    all.push(one);
    all.len() - 1
}
