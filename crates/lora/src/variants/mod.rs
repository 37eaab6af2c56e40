//! The adapter variants there are: one file each, and one line here.

mod dora;
mod embedding;
mod lora;
mod lora_bias;

use crate::variant::Variant;

/// Every variant; the first is plain LoRA.
const VARIANTS: &[&dyn Variant] = &[&lora::Lora, &dora::Dora];

/// LoRA of embeddings, whatever variant the linear layers have.
pub(crate) const EMBEDDING: &dyn Variant = &embedding::Embedding;

/// Plain LoRA with a bias on `lora_B`. A setting in PEFT's file, and none of `--lora_variant`: it does not merge into layers
/// without a bias.
pub(crate) const LORA_BIAS: &dyn Variant = &lora_bias::LoraBias;

/// Plain LoRA.
pub(crate) const LORA: &dyn Variant = VARIANTS[0];

/// Lists every variant there is.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn Variant> {
    VARIANTS.iter().copied()
}

/// Finds the variant of this name.
pub(crate) fn named(name: &str) -> Option<&'static dyn Variant> {
    all().find(|variant| variant.name() == name)
}
