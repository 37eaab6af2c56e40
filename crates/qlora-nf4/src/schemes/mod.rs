//! Schemes of quantisation. A new one is a file beside this one and its place here; `docs/extending.md` has the recipe.

mod fp4;
mod int8;
mod nf4;

use crate::scheme::Scheme;

/// Every scheme, in the order in which messages name them.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&nf4::SCHEME, &fp4::SCHEME, &int8::SCHEME];
