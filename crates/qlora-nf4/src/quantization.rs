//! A scheme with its settings: what a flag or a configuration file asks for.

use std::fmt;
use std::str::FromStr;

use nn_core::LinearOp;
use tch::{Device, Kind, Tensor};
use weights::TensorSpec;

use crate::scheme::{Blocks, Scheme};
use crate::schemes::SCHEMES;
use crate::{QuantError, QuantLinear, QuantWeight};

/// A scheme of quantisation for linear layers, with its settings.
#[derive(Debug, Clone, Copy)]
pub struct Quantization {
    scheme: &'static dyn Scheme,
    blocks: Blocks,
}

impl Quantization {
    /// Lists the names that [`Self::from_flags`] takes: `nf4, fp4, int8 or none`.
    pub fn names() -> String {
        format!("{} or none", names(|_| true, ", ", ""))
    }

    /// Returns NF4 with its default settings.
    pub fn nf4() -> Self {
        Self { scheme: SCHEMES[0], blocks: Blocks::default() }
    }

    /// Returns what the flags `quantize` and `double_quant` ask for; `None` for `none`.
    ///
    /// # Errors
    /// [`QuantError::Scheme`] for a name that is neither a scheme nor `none`, [`QuantError::NoBlocks`] for double
    /// quantisation where there are no scales of blocks.
    pub fn from_flags(quantize: &str, double_quant: bool) -> Result<Option<Self>, QuantError> {
        match quantize {
            "none" if double_quant => Err(QuantError::no_blocks(quantize)),
            "none" => Ok(None),
            name => name.parse::<Self>()?.with_double_quant(double_quant).map(Some),
        }
    }

    /// Returns the first scheme of `bits` bits, of this name if one is given, with the scales that `double_quant` says.
    pub(crate) fn find(bits: u32, name: Option<&str>, double_quant: bool) -> Option<Self> {
        let named = |scheme: &dyn Scheme| name.is_none_or(|name| scheme.name() == name);
        let scheme = SCHEMES.iter().find(|scheme| scheme.bits() == bits && named(**scheme))?;
        Some(Self { scheme: *scheme, blocks: Blocks { double_quant, ..Blocks::default() } })
    }

    /// Quantises the scales of blocks too, or leaves them.
    ///
    /// # Errors
    /// [`QuantError::NoBlocks`] when the scheme has none.
    pub fn with_double_quant(mut self, double_quant: bool) -> Result<Self, QuantError> {
        if double_quant && !self.scheme.has_blocks() {
            return Err(QuantError::no_blocks(self.scheme.name()));
        }
        self.blocks.double_quant = double_quant;
        Ok(self)
    }

    /// Takes blocks of `size` numbers, where the scheme has blocks.
    ///
    /// # Errors
    /// [`QuantError::BlockSize`] when bitsandbytes has no such blocks.
    pub fn with_block_size(mut self, size: usize) -> Result<Self, QuantError> {
        self.blocks.size = size;
        self.blocks.validate()?;
        Ok(self)
    }

    /// Lists every scheme, without double quantisation and, where it applies, with it.
    #[cfg(any(test, feature = "testing"))]
    pub fn all() -> Vec<Self> {
        let with = |scheme: &'static dyn Scheme, double_quant| Self {
            scheme,
            blocks: Blocks { double_quant, ..Blocks::default() },
        };
        let both = |scheme: &&'static dyn Scheme| {
            let nested = scheme.has_blocks().then(|| with(*scheme, true));
            std::iter::once(with(*scheme, false)).chain(nested)
        };
        SCHEMES.iter().flat_map(both).collect()
    }

    /// Returns the scheme's name in flags, messages and configuration files.
    pub fn name(self) -> &'static str {
        self.scheme.name()
    }

    /// Returns the bits of one number without scales.
    pub fn bits(self) -> u32 {
        self.scheme.bits()
    }

    /// Returns whether numbers share scales in blocks, so that double quantisation applies.
    pub fn has_blocks(self) -> bool {
        self.scheme.has_blocks()
    }

    /// Returns whether the scales of blocks are quantised too.
    pub fn double_quant(self) -> bool {
        self.blocks.double_quant
    }

    /// Returns the bytes of a weight of `numbers` numbers, scales included.
    pub fn bytes(self, numbers: i64) -> f64 {
        self.scheme.bytes(numbers, self.blocks)
    }

    /// Quantises `weight`, `[out, in]`, where it lies.
    ///
    /// # Errors
    /// [`QuantError::Kind`] or [`QuantError::NotAMatrix`] for what cannot be quantised so, [`QuantError::Torch`] when there
    /// is not the memory.
    pub fn quantize(self, weight: &Tensor) -> Result<Box<dyn QuantWeight>, QuantError> {
        self.scheme.quantize(weight, self.blocks)
    }

    /// Quantises the weight `name`, and checks that each of its numbers can be quantised.
    pub(crate) fn quantize_finite(
        self,
        name: &str,
        weight: &Tensor,
    ) -> Result<Box<dyn QuantWeight>, QuantError> {
        let weight = self.quantize(weight)?;
        if weight.is_finite()? { Ok(weight) } else { Err(QuantError::NotFinite { name: name.to_owned() }) }
    }

    /// Makes a linear layer of `weight`, `[out, in]`, quantised where it lies and brought to `device`.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] when it has infinities or NaN, and as [`Self::quantize`].
    pub fn linear(
        self,
        name: &str,
        weight: &Tensor,
        bias: Option<Tensor>,
        device: Device,
    ) -> Result<Box<dyn LinearOp>, QuantError> {
        let weight = self.quantize_finite(name, weight)?;
        Ok(Box::new(QuantLinear::new(weight.to_device(device)?, bias)))
    }

    /// Quantises the weight `name` and dequantises it to `kind`: what a model quantised so computes with in that precision.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] when it has infinities or NaN, and as [`Self::quantize`].
    pub fn round_trip(self, name: &str, weight: &Tensor, kind: Kind) -> Result<Tensor, QuantError> {
        self.quantize_finite(name, weight)?.dequantize(kind)
    }

    /// Returns name, kind and shape of the tensors that a file holds for `weight`.
    pub fn parts(self, weight: &TensorSpec) -> Vec<TensorSpec> {
        self.scheme.parts(weight, self.blocks)
    }

    /// Returns the scheme's name, with what else there is to say.
    pub fn describe(self) -> String {
        self.to_string()
    }
}

impl PartialEq for Quantization {
    fn eq(&self, other: &Self) -> bool {
        self.scheme.name() == other.scheme.name() && self.blocks == other.blocks
    }
}

impl Eq for Quantization {}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nested = if self.blocks.double_quant { " with double quantisation" } else { "" };
        write!(f, "{}{nested}", self.scheme.name())
    }
}

impl FromStr for Quantization {
    type Err = QuantError;

    /// Finds the scheme of this name, with its default settings.
    fn from_str(name: &str) -> Result<Self, QuantError> {
        let found = SCHEMES.iter().find(|scheme| scheme.name() == name);
        let scheme = found.ok_or_else(|| QuantError::no_scheme(name))?;
        Ok(Self { scheme: *scheme, blocks: Blocks::default() })
    }
}

/// Lists the names of the schemes that `which` holds for, with `last` before the last and `quote` around each.
pub(crate) fn names(which: impl Fn(&dyn Scheme) -> bool, last: &str, quote: &str) -> String {
    let named = SCHEMES.iter().filter(|scheme| which(**scheme));
    let names: Vec<String> = named.map(|scheme| format!("{quote}{}{quote}", scheme.name())).collect();
    match names.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{}{last}{end}", rest.join(", ")),
        _ => names.concat(),
    }
}

impl QuantError {
    fn no_scheme(name: &str) -> Self {
        Self::Scheme { actual: name.to_owned(), expected: Quantization::names() }
    }

    fn no_blocks(name: &str) -> Self {
        let with = names(|scheme| scheme.has_blocks(), " and ", "");
        Self::NoBlocks { actual: name.to_owned(), expected: with }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_is_found_by_its_name() {
        for scheme in SCHEMES {
            let quantization: Quantization = scheme.name().parse().unwrap();
            assert_eq!(quantization.to_string(), scheme.name());
            assert_eq!(Quantization::from_flags(scheme.name(), false).unwrap(), Some(quantization));
            assert_eq!(quantization.with_double_quant(true).is_ok(), scheme.has_blocks());
        }
        assert_eq!(Quantization::from_flags("none", false).unwrap(), None);
    }

    #[test]
    fn names_and_settings_that_do_not_exist_are_rejected() {
        let error = |name, double| Quantization::from_flags(name, double).unwrap_err().to_string();
        assert_eq!(error("int4", true), "quantize is `int4`; expected nf4, fp4, int8 or none");
        assert_eq!(error("int8", true), "double_quant is for nf4 and fp4; quantize is `int8`");
        assert_eq!(error("none", true), "double_quant is for nf4 and fp4; quantize is `none`");
        let nf4: Quantization = "nf4".parse().unwrap();
        assert!([32, 64, 128, 4096].into_iter().all(|size| nf4.with_block_size(size).is_ok()));
        assert!([0, 16, 48, 8192].into_iter().all(|size| nf4.with_block_size(size).is_err()));
    }

    /// Compares with the parts that are made.
    #[test]
    fn bytes_are_those_of_the_parts() {
        let weight = Tensor::ones([64, 256], (Kind::Float, Device::Cpu));
        for quantization in Quantization::all() {
            let actual = quantization.quantize(&weight).unwrap().num_bytes() as f64;
            // One table of 256 values, or one scale a row.
            let least = quantization.bytes(64 * 256);
            assert!(actual >= least && actual <= least + 4.0 * 256.0, "{quantization}: {actual} {least}");
        }
    }
}
