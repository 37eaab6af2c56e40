//! The parts of a decoder that differ between families.

use std::fmt;

/// Optional parts of every decoder layer. Without any, it is LLaMA's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a part that is there or not, independent of the others"
)]
pub struct DecoderSpec {
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// Bias on o.
    pub o_bias: bool,
    /// Biases on gate, up and down.
    pub mlp_bias: bool,
    /// Norms over each head of q and of k, before they are rotated.
    pub qk_norm: bool,
}

impl fmt::Display for DecoderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { qkv_bias, o_bias, mlp_bias, qk_norm } = *self;
        let parts =
            [("qkv_bias", qkv_bias), ("o_bias", o_bias), ("mlp_bias", mlp_bias), ("qk_norm", qk_norm)];
        let parts: Vec<&str> = parts.into_iter().filter(|&(_, there)| there).map(|(name, _)| name).collect();
        f.write_str(&parts.join(", "))
    }
}
