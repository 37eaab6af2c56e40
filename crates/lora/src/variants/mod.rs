//! The adapter variants there are: one file each, and one line here.

mod dora;
mod lora;

use crate::variant::Variant;

/// Every variant; the first is plain LoRA.
const VARIANTS: &[&dyn Variant] = &[&lora::Lora, &dora::Dora];

/// Plain LoRA.
pub(crate) const LORA: &dyn Variant = VARIANTS[0];

/// Every variant there is.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn Variant> {
    VARIANTS.iter().copied()
}

/// The variant of this name.
pub(crate) fn named(name: &str) -> Option<&'static dyn Variant> {
    all().find(|variant| variant.name() == name)
}
