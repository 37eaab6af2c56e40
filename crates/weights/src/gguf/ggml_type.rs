//! Element types of GGUF files.

use tch::Kind;

/// The forms that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the format's own names")]
pub enum GgmlType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    BF16,
    /// Double precision.
    F64,
    /// Whole numbers of 8 bits.
    I8,
    /// Whole numbers of 16 bits.
    I16,
    /// Whole numbers of 32 bits.
    I32,
    /// Whole numbers of 64 bits.
    I64,
    /// 32 elements of 4 bits and a scale.
    Q4_0,
    /// 32 elements of 4 bits, a scale and a minimum.
    Q4_1,
    /// 32 elements of 8 bits and a scale.
    Q8_0,
    /// 256 elements of 4 bits, with a scale and a minimum of 6 bits for every 32.
    Q4_K,
    /// 256 elements of 6 bits, with a scale of 8 bits for every 16.
    Q6_K,
}

/// Every form there is, by its number; `None` for those that were withdrawn (ggml `ggml_type`).
const NAMES: [Option<&str>; 40] = [
    Some("F32"),
    Some("F16"),
    Some("Q4_0"),
    Some("Q4_1"),
    None,
    None,
    Some("Q5_0"),
    Some("Q5_1"),
    Some("Q8_0"),
    Some("Q8_1"),
    Some("Q2_K"),
    Some("Q3_K"),
    Some("Q4_K"),
    Some("Q5_K"),
    Some("Q6_K"),
    Some("Q8_K"),
    Some("IQ2_XXS"),
    Some("IQ2_XS"),
    Some("IQ3_XXS"),
    Some("IQ1_S"),
    Some("IQ4_NL"),
    Some("IQ3_S"),
    Some("IQ2_S"),
    Some("IQ4_XS"),
    Some("I8"),
    Some("I16"),
    Some("I32"),
    Some("I64"),
    Some("F64"),
    Some("IQ1_M"),
    Some("BF16"),
    None,
    None,
    None,
    Some("TQ1_0"),
    Some("TQ2_0"),
    None,
    None,
    None,
    Some("MXFP4"),
];

impl GgmlType {
    /// Those that hold weights.
    pub(super) const WEIGHTS: [Self; 8] =
        [Self::F32, Self::F16, Self::BF16, Self::Q8_0, Self::Q4_0, Self::Q4_1, Self::Q4_K, Self::Q6_K];

    /// Finds the type of this number, or its name where it is not supported.
    pub(super) fn from_number(number: u32) -> Result<Self, String> {
        Ok(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            12 => Self::Q4_K,
            14 => Self::Q6_K,
            24 => Self::I8,
            25 => Self::I16,
            26 => Self::I32,
            27 => Self::I64,
            28 => Self::F64,
            30 => Self::BF16,
            _ => {
                let name = NAMES.get(number as usize).copied().flatten();
                return Err(name.map_or_else(|| format!("the unknown type {number}"), str::to_owned));
            }
        })
    }

    /// Returns the number that stands for it in a file.
    pub(super) fn number(self) -> u32 {
        // Every form of this crate has a name, and names are listed by number.
        NAMES.iter().position(|name| *name == Some(self.name())).unwrap_or_default() as u32
    }

    /// Returns the format's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F64 => "F64",
            Self::I8 => "I8",
            Self::I16 => "I16",
            Self::I32 => "I32",
            Self::I64 => "I64",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4_K => "Q4_K",
            Self::Q6_K => "Q6_K",
        }
    }

    /// Returns the kind of plain numbers; `None` for blocks.
    pub fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::F32 => Kind::Float,
            Self::F16 => Kind::Half,
            Self::BF16 => Kind::BFloat16,
            Self::F64 => Kind::Double,
            Self::I8 => Kind::Int8,
            Self::I16 => Kind::Int16,
            Self::I32 => Kind::Int,
            Self::I64 => Kind::Int64,
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 | Self::Q4_K | Self::Q6_K => return None,
        })
    }

    /// Returns elements and bytes of the smallest unit.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            Self::Q4_0 => (32, 2 + 16),
            Self::Q4_1 => (32, 4 + 16),
            Self::Q8_0 => (32, 2 + 32),
            Self::Q4_K => (256, 4 + 12 + 128),
            Self::Q6_K => (256, 128 + 64 + 16 + 2),
            plain => (1, plain.kind().map_or(0, Kind::elt_size_in_bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_is_found_by_its_number() {
        for (number, name) in (0..).zip(NAMES) {
            match (GgmlType::from_number(number), name) {
                (Ok(known), name) => assert_eq!((Some(known.name()), known.number()), (name, number)),
                (Err(text), Some(name)) => assert_eq!(text, name),
                (Err(text), None) => assert_eq!(text, format!("the unknown type {number}")),
            }
        }
    }
}
