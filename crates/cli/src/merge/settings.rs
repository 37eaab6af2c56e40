//! From flags to what is to be done.

use std::path::{Path, PathBuf};

use ::merge::Combination;
use anyhow::Result;
use checkpoint::{AdapterDir, MergeConfig, Precision};
use nn_core::Dtype;
use qlora_nf4::Quantization;

use super::args::{BasePrecision, CombinationArg, MergeArgs};
use crate::compute::Quantize;
use crate::exit::usage;

/// Settings of one run of the program.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) base_model: String,
    pub(crate) adapters: Vec<AdapterDir>,
    pub(crate) output_dir: PathBuf,
    pub(crate) merge: MergeConfig,
    pub(crate) verify: bool,
    pub(crate) threads: Option<usize>,
}

/// Turns flags into settings.
///
/// # Errors
/// When a value cannot be, or two do not go together.
pub(crate) fn resolve(args: MergeArgs) -> Result<Settings> {
    // Every field by name: a new flag does not compile until it is used here.
    let MergeArgs {
        base_model,
        lora_weights,
        output_dir,
        format,
        dtype,
        max_shard_size,
        shards,
        overwrite_output_dir,
        adapter,
        combination,
        scale,
        verify,
        base_precision,
        quantize,
        double_quant,
        threads,
        unknown_settings,
    } = args;
    let base_model = base_model.filter(|base| !base.trim().is_empty());
    let base_model = base_model
        .ok_or_else(|| usage("base_model is missing: give --base_model MODEL or set BASE_MODEL"))?;
    let output_dir = output_dir
        .ok_or_else(|| usage("output_dir is missing: give --output_dir DIR, a directory to write"))?;
    // The lab's own script has a space behind the name.
    let lora_weights = lora_weights.trim();
    if !lora_weights.is_empty() && !adapter.is_empty() {
        return Err(usage("lora_weights and adapter are two ways to say the same; give one of them"));
    }
    let mut adapters = adapter.iter().map(|text| parse_adapter(text)).collect::<Result<Vec<_>>>()?;
    if !lora_weights.is_empty() {
        adapters.push(AdapterDir::new(lora_weights));
    }
    if let Some(missing) = adapters.iter().find(|adapter| !adapter.dir.is_dir()) {
        return Err(usage(format!("adapter `{}` is not a directory", missing.dir.display())));
    }
    let (base_quantization, quantization) =
        quantizations(base_precision, quantize, double_quant, !adapters.is_empty())?;
    let merge = MergeConfig {
        format,
        precision: parse_precision(&dtype)?,
        max_shard_bytes: parse_size(&max_shard_size)?,
        shards,
        combination: match combination {
            CombinationArg::Cat => Combination::Cat,
            CombinationArg::Linear => Combination::Linear,
        },
        scale,
        base_quantization,
        quantization,
        overwrite: overwrite_output_dir,
        unknown_settings: unknown_settings.stance(),
    };
    merge.validate()?;
    Ok(Settings { base_model, adapters, output_dir, merge, verify, threads })
}

/// Returns the quantisation that the base goes through, and that of the output.
fn quantizations(
    base_precision: BasePrecision,
    quantize: Quantize,
    double_quant: bool,
    adapted: bool,
) -> Result<(Option<Quantization>, Option<Quantization>)> {
    let nf4_base = base_precision == BasePrecision::Nf4;
    if nf4_base && !adapted {
        return Err(usage(
            "base_precision nf4 is what an adapter was trained over; give one by --lora_weights",
        ));
    }
    // Beside an nf4 base, int8 and none leave double_quant to the base.
    let nested = double_quant && (!nf4_base || quantize.has_blocks());
    if nested && quantize.is_none() {
        return Err(usage("double_quant needs --base_precision nf4, or --quantize nf4 or fp4"));
    }
    let quantization = quantize.with_double_quant(nested)?;
    let base = if nf4_base { Quantize::nf4().with_double_quant(double_quant)? } else { None };
    Ok((base, quantization))
}

fn parse_precision(text: &str) -> Result<Precision> {
    match text.to_ascii_lowercase().as_str() {
        "q8_0" => Ok(Precision::Q8_0),
        name => Ok(name.parse::<Dtype>()?.into()),
    }
}

/// `DIR` or `DIR:WEIGHT`; a `:` that belongs to an existing path is part of it.
fn parse_adapter(text: &str) -> Result<AdapterDir> {
    let weighted = text.rsplit_once(':').filter(|_| !Path::new(text).exists());
    let Some((dir, weight)) = weighted else { return Ok(AdapterDir::new(text)) };
    let parsed: Option<f64> = weight.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight != 0.0);
    let weight = parsed.ok_or_else(|| {
        usage(format!("adapter is `{text}`; expected DIR or DIR:WEIGHT, such as lora-alpaca:0.7"))
    })?;
    Ok(AdapterDir { dir: dir.into(), weight })
}

/// `5GB`, `500MB` (powers of ten, as transformers has it), `2GiB`, or bytes.
fn parse_size(text: &str) -> Result<u64> {
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
        Ok(bytes as u64)
    } else {
        Err(usage(format!("max_shard_size is `{text}`; expected a size such as 5GB, 500MB or 2GiB")))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn resolved(args: &[&str]) -> Result<Settings> {
        let own = ["merge", "--base_model", "m", "--output_dir", "out"];
        resolve(MergeArgs::try_parse_from(own.iter().chain(args))?)
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in
            [("5GB", 5_000_000_000), ("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5kb", 1500), ("77", 77)]
        {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "GB", "5 apples", "0", "-1GB", "1.2.3MB"] {
            assert!(parse_size(text).unwrap_err().to_string().contains("max_shard_size"), "{text}");
        }
    }

    #[test]
    fn an_adapter_takes_a_weight_after_a_colon() {
        let spec = |text: &str| parse_adapter(text).unwrap();
        assert_eq!(spec("a:0.7"), AdapterDir { dir: "a".into(), weight: 0.7 });
        assert_eq!(spec("c:/a:-1"), AdapterDir { dir: "c:/a".into(), weight: -1.0 });
        assert_eq!(spec("a"), AdapterDir { dir: "a".into(), weight: 1.0 });
        assert!(parse_adapter("a:much").unwrap_err().to_string().contains("DIR:WEIGHT"));
    }

    #[test]
    fn double_quant_applies_to_whatever_has_blocks() {
        let nested = Quantization::from_flags("nf4", true).unwrap();
        for (base, quantize, expected) in [
            (BasePrecision::Nf4, "none", (nested, None)),
            (BasePrecision::Nf4, "int8", (nested, Quantization::from_flags("int8", false).unwrap())),
            (BasePrecision::Nf4, "nf4", (nested, nested)),
            (BasePrecision::Original, "nf4", (None, nested)),
        ] {
            assert_eq!(quantizations(base, quantize.parse().unwrap(), true, true).unwrap(), expected);
        }
    }

    #[test]
    fn conflicting_flags_are_rejected() {
        for (args, part) in [
            (&["--base_precision", "nf4"] as &[&str], "an adapter was trained over"),
            (&["--quantize", "int4"], "expected nf4, fp4, int8 or none"),
            (&["--quantize", "nf4", "--format", "gguf"], "quantize is for --format hf"),
            (&["--quantize", "int8", "--double_quant"], "double_quant is for nf4 and fp4"),
            (&["--double_quant"], "double_quant needs --base_precision nf4"),
            (&["--dtype", "q8_0"], "q8_0 is for --format gguf"),
            (&["--dtype", "int7"], "expected auto, float32"),
            (&["--shards", "2"], "shards is for --format state-dict"),
            (&["--shards", "0", "--format", "state-dict"], "shards is 0"),
            (&["--scale", "0"], "scale is 0"),
            (&["--lora_weights", "a", "--adapter", "b"], "give one of them"),
            (&["--lora_weights", "nowhere "], "adapter `nowhere` is not a directory"),
        ] {
            let error = resolved(args).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
