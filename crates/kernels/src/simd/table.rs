//! The values that 4-bit codes stand for.

/// The 16 values of a 4-bit data type, in `-1 ..= 1`, and the order in which encoding searches them.
#[derive(Debug)]
pub struct CodeTable {
    /// The value of each code.
    values: [f32; 16],
    /// The codes in ascending order of their values; of equal values the lower code comes first.
    order: [u8; 16],
}

impl CodeTable {
    /// Makes a table of the value of each code.
    pub const fn new(values: [f32; 16]) -> Self {
        let mut order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        // Insertion sort, which keeps equal values in their order and can run at compile time.
        let mut sorted = 1;
        while sorted < 16 {
            let code = order[sorted];
            let mut place = sorted;
            while place > 0 && values[order[place - 1] as usize] > values[code as usize] {
                order[place] = order[place - 1];
                place -= 1;
            }
            order[place] = code;
            sorted += 1;
        }
        Self { values, order }
    }

    /// Returns the value of each code.
    pub fn values(&self) -> &[f32; 16] {
        &self.values
    }

    /// Returns the codes in ascending order of their values.
    pub fn order(&self) -> &[u8; 16] {
        &self.order
    }

    /// Returns the midpoints between neighbouring values, ascending; a number above `bounds[i]` is nearer to value `i + 1`.
    pub fn bounds(&self) -> [f32; 15] {
        let value = |i: usize| self.values[usize::from(self.order[i])];
        std::array::from_fn(|i| f32::midpoint(value(i), value(i + 1)))
    }
}
