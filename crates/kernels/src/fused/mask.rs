//! The mask of dropout: a function of a seed and of places.

use crate::element::LANES;
use crate::seed::mix_seed;

/// Dropout in training (Srivastava et al., 2014, "Dropout", JMLR 15): each number becomes zero with the probability `p`, and is
/// divided by `1 - p` otherwise.
///
/// The zeros depend on the seed, the row and the column alone, so that no mask is kept for the backward pass, and any number
/// of threads, and a GPU with kernels of ours, drop the same; elsewhere libtorch's generator draws it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability of a zero, in `0 .. 1`.
    pub p: f64,
    /// Seed of this pass through this layer.
    pub seed: u64,
}

impl Dropout {
    /// Returns the least 32 random bits that are not dropped, and the factor of what is kept.
    pub(crate) fn factors(self) -> (u32, f32) {
        ((self.p * 2f64.powi(32)) as u32, (1.0 / (1.0 - self.p)) as f32)
    }

    /// Returns the factors of one row.
    pub(super) fn row(self, row: usize) -> RowMask {
        let seed = mix_seed(self.seed, row as u64);
        let (threshold, kept) = self.factors();
        RowMask { keys: [seed as u32, (seed >> 32) as u32], threshold, kept }
    }
}

/// The factors of one row: zero, or `1 / (1 - p)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowMask {
    keys: [u32; 2],
    threshold: u32,
    kept: f32,
}

impl RowMask {
    /// Returns the factors of the columns from `column` on.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
    pub(super) fn lanes(&self, column: usize) -> [f32; LANES] {
        let mut factors = [0f32; LANES];
        for (lane, factor) in factors.iter_mut().enumerate() {
            let random = mixed(mixed((column + lane) as u32 ^ self.keys[0]) ^ self.keys[1]);
            *factor = if random < self.threshold { 0.0 } else { self.kept };
        }
        factors
    }
}

/// Maps 32 bits one to one to bits that look random: Wellons' `lowbias32` (github.com/skeeto/hash-prospector).
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
fn mixed(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}
