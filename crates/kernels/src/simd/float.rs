//! 16-bit floating-point formats by their bits.

/// A 16-bit format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    BFloat16,
    Half,
}

impl Format {
    /// Returns the float32 of these bits.
    #[inline]
    pub(crate) fn widen(self, bits: u16) -> f32 {
        match self {
            Self::BFloat16 => f32::from_bits(u32::from(bits) << 16),
            Self::Half => {
                let (sign, exponent) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10) & 31);
                let fraction = u32::from(bits & 0x3ff);
                let magnitude = match exponent {
                    0 => return f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
                    31 => 0x7f80_0000 | (fraction << 13),
                    _ => ((exponent + 112) << 23) | (fraction << 13),
                };
                f32::from_bits(sign | magnitude)
            }
        }
    }

    /// Returns the bits of the nearest number, ties to even.
    #[inline]
    pub(crate) fn narrow(self, x: f32) -> u16 {
        let bits = x.to_bits();
        match self {
            Self::BFloat16 if x.is_nan() => (bits >> 16) as u16 | 0x40,
            Self::BFloat16 => ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16,
            Self::Half => {
                let sign = (bits >> 16) as u16 & 0x8000;
                let magnitude = bits & 0x7fff_ffff;
                if magnitude > 0x7f80_0000 {
                    return sign | 0x7e00;
                }
                if magnitude >= 0x4780_0000 {
                    return sign | 0x7c00; // 65536 and above, infinities too
                }
                if magnitude < 0x3880_0000 {
                    // Below 2^-14: the sum with 0.5 puts the rounded multiple of 2^-24 into the lowest bits.
                    let sum = f32::from_bits(magnitude) + 0.5;
                    return sign | (sum.to_bits() - 0.5f32.to_bits()) as u16;
                }
                let rounded = magnitude + 0x0fff + ((magnitude >> 13) & 1);
                sign | ((rounded >> 13) - (112 << 10)) as u16
            }
        }
    }
}
