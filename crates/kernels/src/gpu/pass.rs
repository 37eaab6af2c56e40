//! Operations that have kernels for both passes.

use tch::Kind;

use super::sources::{DROPOUTS, GATES, NARROWED, NORMS, ROTATIONS, of_kind};

/// An operation that has kernels for both passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    RmsNorm,
    RotateHalf,
    SwiGlu,
    Dropout,
    /// Both factors of an adapter in another kind.
    Factors,
}

impl Pass {
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] =
        [Self::RmsNorm, Self::RotateHalf, Self::SwiGlu, Self::Dropout, Self::Factors];

    /// Names the kernels of a kind together.
    pub(super) fn name(self, kind: Kind) -> Option<&'static str> {
        let names = match self {
            Self::RmsNorm => NORMS,
            Self::RotateHalf => ROTATIONS,
            Self::SwiGlu => GATES,
            Self::Dropout => DROPOUTS,
            Self::Factors => NARROWED,
        };
        of_kind(&names, kind)
    }
}
