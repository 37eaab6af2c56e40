//! The machine that reads a pickle.
//!
//! Pickle is a stack machine (`CPython`'s `Lib/pickletools.py` describes each instruction). This one builds plain
//! values, calls nothing but [`Global::call`], and stops at the first instruction it does not know. Each instruction
//! adds at most one value, and their number is limited, as is what calls copy, so memory is bounded whatever the bytes are.

use std::collections::HashMap;

use super::TorchFileError;
use super::cursor::Cursor;
use super::globals::Global;
use super::heap::{Heap, Value};
use super::rebuild::storage;

/// The instruction every pickle of protocol 2 and above begins with.
pub(super) const PROTO: u8 = 0x80;

/// Most instructions of one pickle. A 7B checkpoint takes about ten thousand.
const MAX_INSTRUCTIONS: usize = 1 << 22;

/// Contents of one pickle.
#[derive(Debug)]
pub(super) struct Unpickled<'a> {
    pub(super) root: Value<'a>,
    pub(super) heap: Heap<'a>,
    /// Bytes read; in an old file, the next pickle begins behind them.
    pub(super) len: usize,
}

/// Reads the pickle at the beginning of `bytes`.
pub(super) fn unpickle(bytes: &[u8]) -> Result<Unpickled<'_>, TorchFileError> {
    let mut machine = Machine {
        input: Cursor::new(bytes),
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
    };
    for _ in 0..MAX_INSTRUCTIONS {
        if let Some(root) = machine.step()? {
            return Ok(Unpickled { root, heap: machine.heap, len: machine.input.position() });
        }
    }
    Err(TorchFileError::TooLong { limit: MAX_INSTRUCTIONS })
}

struct Machine<'a> {
    input: Cursor<'a>,
    /// First byte of the current instruction.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at each open MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: Heap<'a>,
}

impl<'a> Machine<'a> {
    /// Carries out one instruction; gives the result at STOP.
    fn step(&mut self) -> Result<Option<Value<'a>>, TorchFileError> {
        self.at = self.input.position();
        let opcode = self.input.byte()?;
        match opcode {
            b'.' => return self.pop().map(Some),       // STOP
            PROTO => drop(self.input.byte()?),         // PROTO
            0x95 => drop(self.input.u64()?),           // FRAME
            b'(' => self.marks.push(self.stack.len()), // MARK
            b'0' => self.discard()?,                   // POP
            b'1' => drop(self.pop_to_mark()?),         // POP_MARK
            b'2' => self.stack.push(self.top()?),      // DUP
            b'h' | b'j' | b'q' | b'r' | 0x94 => self.memo(opcode)?,
            b']' | b')' | b'}' | b't' | 0x85..=0x87 | b'l' | b'd' => self.build_container(opcode)?,
            b'a' | b'e' | b's' | b'u' => self.fill_container(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'R' => self.reduce()?,        // REDUCE
            b'b' => self.build()?,         // BUILD
            b'Q' => self.persistent_id()?, // BINPERSID
            _ => self.literal(opcode)?,
        }
        Ok(None)
    }

    fn literal(&mut self, opcode: u8) -> Result<(), TorchFileError> {
        let input = &mut self.input;
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(input.array()?).into()), // BININT
            b'K' => Value::Int(input.byte()?.into()),                      // BININT1
            b'M' => Value::Int(input.u16()?.into()),                       // BININT2
            0x8a => {
                let len = input.byte()?; // LONG1
                long(input.take(len.into())?)
            }
            0x8b => {
                let len = input.u32()?; // LONG4
                long(input.take(len.into())?)
            }
            b'G' => input.u64().map(|_| Value::Opaque)?, // BINFLOAT
            b'X' => {
                let len = input.u32()?; // BINUNICODE
                Value::Text(input.text(len.into())?)
            }
            0x8c | b'U' => {
                let len = input.byte()?; // SHORT_BINUNICODE, SHORT_BINSTRING
                Value::Text(input.text(len.into())?)
            }
            0x8d => {
                let len = input.u64()?; // BINUNICODE8
                Value::Text(input.text(len)?)
            }
            b'C' => {
                let len = input.byte()?; // SHORT_BINBYTES
                input.take(len.into()).map(|_| Value::Opaque)?
            }
            b'B' => {
                let len = input.u32()?; // BINBYTES
                input.take(len.into()).map(|_| Value::Opaque)?
            }
            _ => return Err(TorchFileError::Opcode { opcode, offset: self.at }),
        };
        self.stack.push(value);
        Ok(())
    }

    fn memo(&mut self, opcode: u8) -> Result<(), TorchFileError> {
        let index = match opcode {
            b'h' | b'q' => self.input.byte()?.into(), // BINGET, BINPUT
            b'j' | b'r' => self.input.u32()?,         // LONG_BINGET, LONG_BINPUT
            _ => self.memo.len() as u32,              // MEMOIZE
        };
        if matches!(opcode, b'h' | b'j') {
            let value = self.memo.get(&index).copied().ok_or_else(|| self.malformed("a memorised value"))?;
            self.stack.push(value);
        } else {
            let value = self.top()?;
            self.memo.insert(index, value);
        }
        Ok(())
    }

    fn build_container(&mut self, opcode: u8) -> Result<(), TorchFileError> {
        let value = match opcode {
            b']' => self.heap.list(Vec::new()),
            b'}' => self.heap.dict(Vec::new()),
            b')' => self.heap.tuple(Vec::new()),
            0x85..=0x87 => {
                // TUPLE1, TUPLE2, TUPLE3
                let mut items = (0x85..=opcode).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.heap.tuple(items)
            }
            _ => {
                let items = self.pop_to_mark()?;
                match opcode {
                    b't' => self.heap.tuple(items),
                    b'l' => self.heap.list(items),
                    _ => {
                        let pairs = self.pairs(&items)?;
                        self.heap.dict(pairs)
                    }
                }
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// Puts values (APPEND, APPENDS, SETITEM, SETITEMS) into the container below them.
    fn fill_container(&mut self, opcode: u8) -> Result<(), TorchFileError> {
        let items = match opcode {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        match (opcode, self.top()?) {
            (b'a' | b'e', Value::List(list)) => self.heap.sequences[list].extend(items),
            (b's' | b'u', Value::Dict(dict)) => {
                let pairs = self.pairs(&items)?;
                self.heap.dicts[dict].extend(pairs);
            }
            (b'a' | b'e', _) => return Err(self.malformed("a list")),
            _ => return Err(self.malformed("a dictionary")),
        }
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<(), TorchFileError> {
        let (module, name) = if opcode == b'c' {
            (self.input.line()?, self.input.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            let (Value::Text(module), Value::Text(name)) = (module, name) else {
                return Err(self.malformed("a module and a name"));
            };
            (module, name)
        };
        self.stack.push(Value::Global(Global::find(module, name)?));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), TorchFileError> {
        let arguments = self.pop()?;
        let Value::Global(callee) = self.pop()? else { return Err(self.malformed("something to call")) };
        let value = callee.call(&mut self.heap, arguments).map_err(|expected| self.malformed(expected))?;
        self.stack.push(value);
        Ok(())
    }

    /// Sets attributes. Only an `OrderedDict` has any here (`_metadata`, the versions of modules), and no tensor needs
    /// them.
    fn build(&mut self) -> Result<(), TorchFileError> {
        let _attributes = self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err(self.malformed("a dictionary to set attributes of")),
        }
    }

    fn persistent_id(&mut self) -> Result<(), TorchFileError> {
        let id = self.pop()?;
        let storage = storage(&self.heap, id).ok_or_else(|| self.malformed("the id of a storage"))?;
        let storage = self.heap.storage(storage);
        self.stack.push(storage);
        Ok(())
    }

    fn pairs(&self, items: &[Value<'a>]) -> Result<Vec<(Value<'a>, Value<'a>)>, TorchFileError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if rest.is_empty() {
            Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
        } else {
            Err(self.malformed("a value for each key"))
        }
    }

    /// Returns the height of the stack below which the current instruction may not reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value<'a>, TorchFileError> {
        let above = self.stack.get(self.floor()..).and_then(<[_]>::last);
        above.copied().ok_or_else(|| self.malformed("a value"))
    }

    fn pop(&mut self) -> Result<Value<'a>, TorchFileError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, TorchFileError> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed("a mark"))?;
        Ok(self.stack.split_off(mark))
    }

    /// Takes away (POP) a value, or a mark that nothing was put upon.
    fn discard(&mut self) -> Result<(), TorchFileError> {
        if self.pop().is_ok() || self.marks.pop().is_some() { Ok(()) } else { Err(self.malformed("a value")) }
    }

    fn malformed(&self, expected: &'static str) -> TorchFileError {
        TorchFileError::Malformed { expected, offset: self.at }
    }
}

/// Reads an integer in two's complement, little-endian, of any length.
fn long(bytes: &[u8]) -> Value<'_> {
    let sign = if bytes.last().is_some_and(|&high| high >= 0x80) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        }
        None => Value::Long(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_of_every_length_keep_their_sign() {
        assert_eq!(long(&[]), Value::Int(0));
        assert_eq!(long(&[0xff]), Value::Int(-1));
        assert_eq!(long(&[0xff, 0x00]), Value::Int(255));
        assert_eq!(long(&[0, 0, 0, 0, 0, 0, 0, 0x80]), Value::Int(i64::MIN));
        assert!(matches!(long(&[1; 9]), Value::Long(_)));
    }

    #[test]
    fn a_foreign_name_is_refused_however_it_is_spelt() {
        let by_line = b"\x80\x02cos\nsystem\nU\x02idR.".as_slice();
        let by_stack = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.".as_slice();
        for pickle in [by_line, by_stack] {
            let message = unpickle(pickle).unwrap_err().to_string();
            assert_eq!(message, "pickle wants `os.system`, which is not part of a tensor file; refused");
        }
    }

    #[test]
    fn nesting_and_repetition_without_end_cost_no_recursion() {
        let mut deep = vec![0x80, 2, b')'];
        deep.extend(vec![0x85; 1_000_000]);
        deep.push(b'.');
        assert!(unpickle(&deep).is_ok());

        let mut doubled = vec![0x80, 2, b'N'];
        doubled.extend([b'2', 0x86].repeat(10_000));
        doubled.push(b'.');
        assert!(unpickle(&doubled).is_ok());

        let endless = vec![b'N'; MAX_INSTRUCTIONS + 1];
        assert!(matches!(unpickle(&endless), Err(TorchFileError::TooLong { .. })));
    }

    #[test]
    fn a_list_named_again_and_again_is_not_copied_without_end() {
        const TIMES: usize = 10_000;
        // A list of that many pairs (1), OrderedDict (2), and as many calls of it.
        let mut pickle = b"\x80\x02NN\x86q\x000]q\x01(".to_vec();
        pickle.extend(b"h\x00".repeat(TIMES));
        pickle.extend(b"e0");
        pickle.extend(b"ccollections\nOrderedDict\nq\x020");
        pickle.extend(b"h\x02h\x01\x85R0".repeat(TIMES));
        let message = unpickle(&pickle).unwrap_err().to_string();
        assert!(message.contains("fewer than 4194304 pairs and sizes in all"), "{message}");

        let mut long = b"\x80\x02ccollections\nOrderedDict\n(".to_vec();
        long.extend(b"N".repeat(9));
        long.extend(b"tR.");
        let message = unpickle(&long).unwrap_err().to_string();
        assert!(message.contains("a tuple of at most 8 arguments"), "{message}");
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_make_the_machine_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = unpickle(&bytes);
        }

        /// Feeds the machine: bytes drawn from the instructions the machine knows get further than uniform ones.
        #[test]
        fn no_program_makes_the_machine_panic(
            program in prop::collection::vec(
                prop::sample::select(b"(N)]}tle0121aesubRQ.hq\x00\x01K\x85\x86\x87\x88\x93\x94U\x01d".to_vec()),
                0..400,
            ),
        ) {
            let _ = unpickle(&program);
        }
    }
}
