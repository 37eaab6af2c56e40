//! The values that 4-bit codes stand for.

/// The values of a data type, and the order in which encoding looks numbers up among them.
#[derive(Debug)]
pub(crate) struct Values {
    /// The value of each code.
    pub(crate) table: [f32; 16],
    /// The codes in ascending order of their values.
    pub(crate) order: [u8; 16],
}

const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

const FP4: [f32; 16] = [
    0.0,
    0.005_208_333_5,
    0.666_666_7,
    1.0,
    0.333_333_34,
    0.5,
    0.166_666_67,
    0.25,
    0.0,
    -0.005_208_333_5,
    -0.666_666_7,
    -1.0,
    -0.333_333_34,
    -0.5,
    -0.166_666_67,
    -0.25,
];

const IN_ORDER: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// FP4's codes by ascending value; of the two zeros code 0 comes first (bitsandbytes' CPU backend, `argsort`).
const FP4_ORDER: [u8; 16] = [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3];

impl Values {
    pub(crate) const NF4: Self = Self { table: NF4, order: IN_ORDER };
    pub(crate) const FP4: Self = Self { table: FP4, order: FP4_ORDER };

    /// What lies half-way between neighbouring values, ascending; a number above `bounds[i]` is nearer to value `i + 1`.
    pub(crate) fn bounds(&self) -> [f32; 15] {
        let value = |i: usize| self.table[usize::from(self.order[i])];
        std::array::from_fn(|i| f32::midpoint(value(i), value(i + 1)))
    }
}
