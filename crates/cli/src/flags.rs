//! Spellings of flags and values.

use std::ffi::OsString;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use lora::{TargetModules, VariantName};
use qlora_nf4::{Code4, Config4, Quantization};
use trainer::{OPTIMIZERS, OptimizerKind};

use crate::exit::usage;

/// Flags may be written with `-` or `_` inside: `--base-model` is `--base_model`. Values stay as they are.
pub fn normalised(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    args.map(|arg| match arg.to_str().filter(|text| text.starts_with("--") && text.len() > 2) {
        Some(text) => {
            let (name, value) = text[2..].split_once('=').map_or((&text[2..], None), |(n, v)| (n, Some(v)));
            let name = name.replace('-', "_");
            OsString::from(value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")))
        }
        None => arg,
    })
}

/// `true`, `False`, `1`, `no` …: alpaca-lora's flags take Python's spelling.
///
/// # Errors
/// A sentence for anything else.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Parses the name of an optimiser; help texts list the names.
pub fn optimizer_parser() -> impl TypedValueParser<Value = OptimizerKind> {
    PossibleValuesParser::new(OPTIMIZERS.iter().map(OptimizerKind::name)).try_map(|name| name.parse())
}

/// How linear layers are quantised, by name: `nf4`, `fp4`, `int8` or `none`.
///
/// # Errors
/// For any other name, and for `double_quant` where there are no scales of blocks.
pub fn parse_quantization(name: &str, double_quant: bool) -> Result<Option<Quantization>> {
    let code = match name {
        "nf4" => Code4::Nf4,
        "fp4" => Code4::Fp4,
        "int8" | "none" if double_quant => {
            return Err(usage(format!("double_quant is for nf4 and fp4; quantize is `{name}`")));
        }
        "int8" => return Ok(Some(Quantization::Eight)),
        "none" => return Ok(None),
        _ => return Err(usage(format!("quantize is `{name}`; expected nf4, fp4, int8 or none"))),
    };
    Ok(Some(Quantization::Four(Config4::new(code, double_quant))))
}

/// What `load_4bit` and `load_8bit` ask for: transformers' NF4 without double quantisation, or `LLM.int8()`.
///
/// # Errors
/// When both are set.
pub fn load_in_bits(four: bool, eight: bool) -> Result<Option<Quantization>> {
    match (four, eight) {
        (true, true) => Err(usage("weights in 4 bits and in 8 bits are two things; ask for one of them")),
        (true, false) => parse_quantization("nf4", false),
        (false, true) => parse_quantization("int8", false),
        (false, false) => Ok(None),
    }
}

/// Target modules as they are written on a command line: `q_proj,v_proj`, alpaca-lora's `[q_proj,v_proj]` with or without
/// quotes inside, `all-linear`, or a regular expression.
///
/// # Errors
/// A sentence when nothing is named.
pub fn parse_targets(text: &str) -> Result<TargetModules, String> {
    let text = text.trim();
    if text == "all-linear" {
        return Ok(TargetModules::Pattern(text.to_owned()));
    }
    let listed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if listed.is_none() && text.contains(|c: char| r".*+?()|[]^$\".contains(c)) {
        return Ok(TargetModules::Pattern(text.to_owned()));
    }
    let names: Vec<String> = listed
        .unwrap_or(text)
        .split(',')
        .map(|name| name.trim().trim_matches(['\'', '"']).to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        Err("expected at least one module name".to_owned())
    } else {
        Ok(TargetModules::Names(names))
    }
}

/// Parses the name of an adapter variant; help lists those there are.
pub fn parse_variant() -> impl TypedValueParser<Value = VariantName> {
    PossibleValuesParser::new(VariantName::known()).map(|name| name.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_flag_are_one() {
        let args = ["finetune", "--base-model", "my-model", "--lora-r=4", "--", "-x"].map(OsString::from);
        let expected = ["finetune", "--base_model", "my-model", "--lora_r=4", "--", "-x"].map(OsString::from);
        assert_eq!(normalised(args.into_iter()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn target_modules_in_every_spelling() {
        let names = TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]);
        for text in ["q_proj,v_proj", "[q_proj,v_proj]", "['q_proj', \"v_proj\"]", " [ q_proj , v_proj ] "] {
            assert_eq!(parse_targets(text).unwrap(), names, "{text}");
        }
        for text in ["all-linear", r".*\.(q|v)_proj"] {
            assert_eq!(parse_targets(text).unwrap(), TargetModules::Pattern(text.to_owned()));
        }
        assert!(parse_targets("[]").is_err());
    }
}
