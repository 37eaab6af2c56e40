//! From flags to what is to be done.

use std::path::PathBuf;

use ::merge::Combination;
use anyhow::Result;
use checkpoint::{AdapterDir, MergeConfig, find_adapter};
use llama_finetune::{AskedQuantization, QuantizationChoice};
use qlora_nf4::Quantization;

use super::args::{BasePrecision, CombinationArg, MergeArgs};
use crate::exit::usage;

/// Settings of one run of the program.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Path or name of the base, unless the adapter is to name it.
    pub(crate) base_model: Option<String>,
    pub(crate) adapters: Vec<AdapterDir>,
    pub(crate) output_dir: PathBuf,
    pub(crate) merge: MergeConfig,
    /// Quantisation that the base goes through before an adapter is added, where it is asked for.
    pub(crate) base_quantization: AskedQuantization,
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
    let output_dir = output_dir
        .ok_or_else(|| usage("output_dir is missing: give --output_dir DIR, a directory to write"))?;
    if !lora_weights.is_empty() && !adapter.is_empty() {
        return Err(usage("lora_weights and adapter are two ways to say the same; give one of them"));
    }
    let mut adapters = adapter;
    if !lora_weights.trim().is_empty() {
        adapters.push(AdapterDir::new(lora_weights));
    }
    if base_model.is_none() && adapters.is_empty() {
        return Err(usage("base_model is missing: give --base_model MODEL or set BASE_MODEL"));
    }
    for adapter in &mut adapters {
        adapter.dir = find_adapter(&adapter.dir.to_string_lossy())?;
    }
    let (base_quantization, quantization) =
        quantizations(base_precision, quantize, double_quant, !adapters.is_empty())?;
    let merge = MergeConfig {
        format,
        precision: dtype,
        max_shard_bytes: max_shard_size,
        shards,
        combination: match combination {
            CombinationArg::Cat => Combination::Cat,
            CombinationArg::Linear => Combination::Linear,
        },
        scale,
        base_quantization: None,
        quantization,
        overwrite: overwrite_output_dir,
        unknown_settings: unknown_settings.stance(),
    };
    merge.validate()?;
    Ok(Settings { base_model, adapters, output_dir, merge, base_quantization, verify, threads })
}

/// Returns the quantisation that the base is to go through, and that of the output.
fn quantizations(
    base_precision: Option<BasePrecision>,
    quantize: QuantizationChoice,
    double_quant: bool,
    adapted: bool,
) -> Result<(AskedQuantization, Option<Quantization>)> {
    let nf4_base = base_precision == Some(BasePrecision::Nf4);
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
    let base = match base_precision {
        Some(BasePrecision::Nf4) => QuantizationChoice::nf4().with_double_quant(double_quant)?.into(),
        Some(BasePrecision::Original) => None.into(),
        None => AskedQuantization::default(),
    };
    Ok((base, quantization))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn double_quant_applies_to_whatever_has_blocks() {
        let [nested, int8] = [("nf4", true), ("int8", false)]
            .map(|(name, nested)| Quantization::from_flags(name, nested).unwrap());
        for (base, quantize, expected) in [
            (Some(BasePrecision::Nf4), "none", (nested.into(), None)),
            (Some(BasePrecision::Nf4), "int8", (nested.into(), int8)),
            (Some(BasePrecision::Nf4), "nf4", (nested.into(), nested)),
            (Some(BasePrecision::Original), "nf4", (None.into(), nested)),
            (None, "nf4", (AskedQuantization::default(), nested)),
        ] {
            assert_eq!(quantizations(base, quantize.parse().unwrap(), true, true).unwrap(), expected);
        }
    }
}
