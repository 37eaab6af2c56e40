//! FP4: a sign, two bits of exponent and one of mantissa, as bitsandbytes has it (`backends/utils.py`).

use crate::four_bit::FourBit;

pub(super) static SCHEME: FourBit = FourBit::new(
    "fp4",
    [
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
);

#[cfg(test)]
mod tests {
    use super::SCHEME;

    /// Compares with the order of bitsandbytes' CPU backend (`argsort`): of the two zeros code 0 comes first.
    #[test]
    fn codes_ascend_as_bitsandbytes_sorts_them() {
        assert_eq!(*SCHEME.table.order(), [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3]);
    }
}
