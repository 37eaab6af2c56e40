//! The values that 4-bit codes stand for.

/// A table of values, and how encoding looks numbers up in it.
#[derive(Debug)]
pub(crate) struct Values {
    /// The value of each code.
    pub(crate) table: [f32; 16],
    /// The codes in ascending order of their values.
    pub(crate) order: [u8; 16],
}

pub(crate) static NF4: Values = Values {
    table: [
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
    ],
    order: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
};

pub(crate) static FP4: Values = Values {
    table: [
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
    ],
    // Of the two zeros code 0 comes first (bitsandbytes' CPU backend, `argsort`).
    order: [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3],
};

impl Values {
    /// What lies half-way between neighbouring values, ascending; a number above `bounds[i]` is nearer to value `i + 1`.
    pub(crate) fn bounds(&self) -> [f32; 15] {
        let value = |i: usize| self.table[usize::from(self.order[i])];
        std::array::from_fn(|i| f32::midpoint(value(i), value(i + 1)))
    }
}
