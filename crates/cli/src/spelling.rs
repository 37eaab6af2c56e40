//! Spellings of the values of flags.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use lora::VariantName;
use serde::{Deserialize, Serialize};
use trainer::{OPTIMIZERS, OptimizerKind};

/// Parses `true`, `False`, `1`, `no` …: alpaca-lora's flags take Python's spelling.
///
/// # Errors
/// A sentence for anything else.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Names in a list: `lm_head,embed_tokens`, or `[lm_head,embed_tokens]` as PEFT's users write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameList(pub(crate) Vec<String>);

/// Parses a list of names; an empty text is an empty list.
///
/// # Errors
/// Never: the signature is clap's.
#[expect(clippy::unnecessary_wraps, reason = "the signature is clap's")]
pub(crate) fn parse_names(text: &str) -> Result<NameList, String> {
    Ok(NameList(split_names(text)))
}

fn split_names(text: &str) -> Vec<String> {
    let text = text.trim();
    let listed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let names = listed.split(',').map(|name| name.trim().trim_matches(['\'', '"']).to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// Parses the name of an adapter variant; the help lists those there are.
pub(crate) fn parse_variant() -> impl TypedValueParser<Value = VariantName> {
    PossibleValuesParser::new(VariantName::known()).map(|name| name.as_str().into())
}

/// Parses the name of an optimiser; the help lists those there are.
pub(crate) fn parse_optimizer() -> impl TypedValueParser<Value = OptimizerKind> {
    PossibleValuesParser::new(OPTIMIZERS.iter().map(OptimizerKind::name)).try_map(|name| name.parse())
}
