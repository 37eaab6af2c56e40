//! Flags about the machine and the precision, shared by the programs that load a model.

use anyhow::Result;
use clap::{ArgAction, Args};
use llama_finetune::{
    AskedQuantization, DeviceChoice, DeviceMapChoice, LoadConfig, QuantizationChoice, set_threads,
};
use nn_core::{Dtype, UnknownSettings};
use qlora_nf4::Quantization;

use crate::exit::usage;
use crate::spelling::parse_bool;

/// The flags of every program that loads a model to compute with.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Machine", rename_all = "snake_case")]
pub struct ComputeArgs {
    /// Device: auto (the first GPU if there is one), cpu, cuda or cuda:N [default: auto]
    #[arg(long)]
    pub(crate) device: Option<DeviceChoice>,
    /// A model over several GPUs: auto shares its layers out over all of them by their free memory, none does not [default: none]
    #[arg(long)]
    pub(crate) device_map: Option<DeviceMapChoice>,
    /// Precision of the weights and of the computation: auto, float32, bfloat16 or float16 [default: auto]
    #[arg(long, visible_alias = "compute_dtype")]
    pub(crate) dtype: Option<Dtype>,
    #[arg(long, value_name = "NAME", help = format!("Quantise the linear layers while loading: {} [default: none; with an adapter, as it was trained]", Quantization::names()))]
    pub(crate) quantize: Option<QuantizationChoice>,
    /// Double quantisation: quantise the scales of nf4 and fp4 blocks too [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    pub(crate) double_quant: Option<bool>,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) unknown_settings: UnknownSettingsArgs,
    /// The same as --quantize nf4
    #[arg(long, alias = "load_4bit", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, hide = true, help_heading = "Other spellings")]
    pub(crate) load_in_4bit: bool,
    /// The same as --quantize int8
    #[arg(long, alias = "load_8bit", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, hide = true, help_heading = "Other spellings")]
    pub(crate) load_in_8bit: bool,
}

/// The flags, decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compute {
    pub(crate) device: DeviceChoice,
    pub(crate) device_map: DeviceMapChoice,
    pub(crate) dtype: Dtype,
    /// Quantisation that was asked for.
    pub quantization: AskedQuantization,
    pub(crate) threads: Option<usize>,
    pub(crate) unknown_settings: UnknownSettings,
}

/// The flag of every program that reads configurations of others.
#[derive(Debug, Default, Clone, Copy, Args)]
#[command(rename_all = "snake_case")]
pub struct UnknownSettingsArgs {
    /// Read a model or an adapter whose configuration has keys that are unknown here and could change the result, as if
    /// they were missing [default: false]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = parse_bool, help_heading = "Machine")]
    ignore_unknown_settings: bool,
}

impl UnknownSettingsArgs {
    /// Returns the stance on such keys.
    pub(crate) fn stance(self) -> UnknownSettings {
        if self.ignore_unknown_settings { UnknownSettings::Ignore } else { UnknownSettings::Refuse }
    }
}

impl ComputeArgs {
    /// Returns the quantisation that was asked for, in any spelling; `--quantize` beats the others.
    ///
    /// # Errors
    /// When both 4 and 8 bits are asked for.
    pub(crate) fn quantize(&self) -> Result<Option<QuantizationChoice>> {
        match (self.load_in_4bit, self.load_in_8bit) {
            (true, true) => Err(usage("weights in 4 bits and in 8 bits are two things; ask for one of them")),
            _ if self.quantize.is_some() => Ok(self.quantize),
            (true, false) => Ok(Some(QuantizationChoice::nf4())),
            (false, true) => "int8".parse().map(Some).map_err(Into::into),
            (false, false) => Ok(None),
        }
    }

    /// Decides what was left open.
    ///
    /// # Errors
    /// When double quantisation is asked for and there are no blocks, or both 4 and 8 bits are.
    pub fn resolve(self, default_dtype: Dtype) -> Result<Compute> {
        let quantization = AskedQuantization { scheme: self.quantize()?, double_quant: self.double_quant };
        if let Some(scheme) = quantization.scheme {
            scheme.with_double_quant(self.double_quant.unwrap_or_default())?;
        }
        Ok(Compute {
            device: self.device.unwrap_or_default(),
            device_map: self.device_map.unwrap_or_default(),
            dtype: self.dtype.unwrap_or(default_dtype),
            quantization,
            threads: self.threads,
            unknown_settings: self.unknown_settings.stance(),
        })
    }
}

impl Compute {
    /// Sets the number of threads and starts the device; models are then loaded as it says.
    ///
    /// # Errors
    /// When a GPU was asked for and cannot be used.
    pub(crate) fn start(&self) -> Result<LoadConfig> {
        set_threads(self.threads)?;
        let Self { device, device_map, dtype, quantization, unknown_settings, .. } = *self;
        device_map.check(device, 1)?;
        Ok(LoadConfig { device: device.start()?, device_map, dtype, quantization, unknown_settings })
    }
}
