//! 4-bit data types.

use kernels::CodeTable;

/// A 4-bit data type of bitsandbytes.
#[derive(Debug)]
pub(crate) struct FourBit {
    pub(super) name: &'static str,
    /// The value of each code, in `-1 ..= 1`.
    pub(crate) table: CodeTable,
}

impl FourBit {
    /// Makes a data type whose codes stand for `values`.
    pub(crate) const fn new(name: &'static str, values: [f32; 16]) -> Self {
        Self { name, table: CodeTable::new(values) }
    }
}
