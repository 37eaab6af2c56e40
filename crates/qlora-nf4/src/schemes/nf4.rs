//! NF4: quantiles of a normal distribution (QLoRA, arXiv 2305.14314, §3 and appendix E), as bitsandbytes has them
//! (`backends/utils.py`).

use crate::four_bit::FourBit;

pub(super) static SCHEME: FourBit = FourBit::new(
    "nf4",
    [
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
);

#[cfg(test)]
mod tests {
    use super::SCHEME;

    #[test]
    fn midpoints_are_the_literals_of_bitsandbytes_cuda_kernel() {
        let bounds = SCHEME.table.bounds();
        assert_eq!(bounds[6].to_bits(), 0xbd3a_7871);
        assert_eq!(bounds[14].to_bits(), 0x3f5c_89da);
    }
}
