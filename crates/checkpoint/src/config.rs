//! Settings of a merge.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use merge::Combination;
use nn_core::UnknownSettings;
use qlora_nf4::Quantization;

use crate::CheckpointError;
use crate::format::{Format, Supports};
use crate::formats::HuggingFace;
use crate::merged_model::{Precision, WriteSettings};

/// Directory of a PEFT adapter, and the share of it that is merged.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterDir {
    /// Its directory.
    pub dir: PathBuf,
    /// Factor of everything it adds; 1 for all of it.
    pub weight: f64,
}

impl AdapterDir {
    /// Returns all of the adapter in `dir`; it is read by the merge.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), weight: 1.0 }
    }
}

impl FromStr for AdapterDir {
    type Err = CheckpointError;

    /// Parses `DIR` or `DIR:WEIGHT`; a `:` that belongs to an existing path is part of it.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let weighted = text.rsplit_once(':').filter(|_| !Path::new(text).exists());
        let Some((dir, weight)) = weighted else { return Ok(Self::new(text)) };
        match weight.parse::<f64>() {
            Ok(weight) if weight.is_finite() && weight != 0.0 => Ok(Self { dir: dir.into(), weight }),
            _ => Err(CheckpointError::Setting {
                reason: format!("adapter is `{text}`; expected DIR or DIR:WEIGHT, such as lora-alpaca:0.7"),
            }),
        }
    }
}

/// Form of the output, and everything that can be said of a merge.
#[derive(Debug, Clone, Copy)]
pub struct MergeConfig {
    /// Form of the files; [`HuggingFace`] by default.
    pub format: &'static dyn Format,
    /// Precision of the files.
    pub precision: Precision,
    /// Bytes that one file of Hugging Face's holds at most, unless one tensor is larger; 5 GB by default, as
    /// transformers has it.
    pub max_shard_bytes: u64,
    /// Number of model-parallel files of Meta's form; 1 by default.
    pub shards: usize,
    /// Way in which several adapters become one; [`Combination::Cat`] by default.
    pub combination: Combination,
    /// Factor of everything that is added; 1 by default.
    pub scale: f64,
    /// Quantisation that the base's linear layers go through, there and back, before anything is added: the base as an
    /// adapter of QLoRA saw it.
    pub base_quantization: Option<Quantization>,
    /// Quantisation of the linear layers that are written.
    pub quantization: Option<Quantization>,
    /// Replace an output directory that is not empty.
    pub overwrite: bool,
    /// Stance on keys of an adapter's configuration that are unknown and could change the result.
    pub unknown_settings: UnknownSettings,
}

impl Default for MergeConfig {
    fn default() -> Self {
        Self {
            format: &HuggingFace,
            precision: Precision::AsBase,
            max_shard_bytes: 5_000_000_000,
            shards: 1,
            combination: Combination::Cat,
            scale: 1.0,
            base_quantization: None,
            quantization: None,
            overwrite: false,
            unknown_settings: UnknownSettings::Refuse,
        }
    }
}

impl<F: Format> From<&'static F> for MergeConfig {
    fn from(format: &'static F) -> Self {
        Self { format, ..Self::default() }
    }
}

impl MergeConfig {
    /// Checks that the values are possible and go with the form.
    ///
    /// # Errors
    /// A usage error that names the first value that does not.
    pub fn validate(&self) -> Result<(), CheckpointError> {
        let Supports { shards, quantization, q8_0 } = self.format.supports();
        let refuse = |reason: &str| Err(CheckpointError::Setting { reason: reason.to_owned() });
        if !self.scale.is_finite() || self.scale == 0.0 {
            return refuse(&format!("scale is {}; expected a number other than 0", self.scale));
        }
        if self.shards == 0 || self.shards > 64 {
            return refuse(&format!("shards is {}; expected 1 to 64", self.shards));
        }
        if self.shards > 1 && !shards {
            return refuse("shards is for --format state-dict; --max_shard_size cuts Hugging Face's files");
        }
        if self.quantization.is_some() && !quantization {
            return refuse("quantize is for --format hf; GGUF files have --dtype q8_0");
        }
        if self.precision == Precision::Q8_0 && !q8_0 {
            return refuse("dtype q8_0 is for --format gguf");
        }
        Ok(())
    }

    /// Parses a [`MergeConfig::max_shard_bytes`]: `5GB`, `500MB` (powers of ten, as transformers has it), `2GiB`, or bytes.
    ///
    /// # Errors
    /// A usage error for anything else, and for less than a byte.
    pub fn parse_shard_size(text: &str) -> Result<u64, CheckpointError> {
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor = match unit.trim().to_ascii_uppercase().as_str() {
            "" | "B" => 1.0,
            "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "TB" => 1e12,
            "KIB" => 1024.0,
            "MIB" => 1024.0 * 1024.0,
            "GIB" => 1024.0 * 1024.0 * 1024.0,
            _ => f64::NAN,
        };
        let bytes = number.parse::<f64>().unwrap_or(f64::NAN) * factor;
        if bytes >= 1.0 {
            return Ok(bytes as u64);
        }
        let reason = format!("max_shard_size is `{text}`; expected a size such as 5GB, 500MB or 2GiB");
        Err(CheckpointError::Setting { reason })
    }

    /// Returns the settings that a form writes by.
    pub(crate) fn write_settings(&self) -> WriteSettings {
        WriteSettings {
            precision: self.precision,
            max_shard_bytes: self.max_shard_bytes,
            shards: self.shards,
            base_quantization: self.base_quantization,
            quantization: self.quantization,
        }
    }

    /// Checks that the output may take its name; changes nothing.
    ///
    /// # Errors
    /// A usage error for a file, and for a directory that is not empty where `overwrite` is not set.
    pub fn check_output(&self, dir: &Path) -> Result<(), CheckpointError> {
        if dir.exists() && !dir.is_dir() {
            return Err(CheckpointError::OutputIsFile { dir: dir.to_owned() });
        }
        let is_empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
        if is_empty || self.overwrite {
            return Ok(());
        }
        Err(CheckpointError::OutputNotEmpty { dir: dir.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in
            [("5GB", 5_000_000_000), ("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5kb", 1500), ("77", 77)]
        {
            assert_eq!(MergeConfig::parse_shard_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "GB", "5 apples", "0", "-1GB", "1.2.3MB"] {
            let error = MergeConfig::parse_shard_size(text).unwrap_err().to_string();
            assert!(error.contains("max_shard_size"), "{text}");
        }
    }

    #[test]
    fn an_adapter_takes_a_weight_after_a_colon() {
        let spec = |text: &str| text.parse::<AdapterDir>().unwrap();
        assert_eq!(spec("a:0.7"), AdapterDir { dir: "a".into(), weight: 0.7 });
        assert_eq!(spec("c:/a:-1"), AdapterDir { dir: "c:/a".into(), weight: -1.0 });
        assert_eq!(spec("a"), AdapterDir { dir: "a".into(), weight: 1.0 });
        assert!("a:much".parse::<AdapterDir>().unwrap_err().to_string().contains("DIR:WEIGHT"));
    }
}
