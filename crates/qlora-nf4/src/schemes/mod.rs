//! Schemes of quantisation. A new one is a file beside this one and its place here; `docs/extending.md` has the recipe.

mod int8;
mod nf4;

use crate::Scheme;

/// Every scheme, in the order in which messages name them.
pub static SCHEMES: &[&dyn Scheme] = &[&nf4::SCHEME, &int8::SCHEME];
