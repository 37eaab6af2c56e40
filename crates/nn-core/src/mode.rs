//! Training and evaluation mode.

/// Mode of a forward pass: dropout active, with a seed, or off.
///
/// Dropout is a function of its seed and nothing else, so a forward pass can be repeated exactly: by activation
/// checkpointing in the backward pass, and by a resumed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is active; `seed` names this forward pass. A layer mixes its own index in with [`mix_seed`].
    Train {
        /// Seed of this forward pass, from the run's seed, the step and the micro-batch.
        seed: u64,
    },
    /// Dropout is the identity.
    Eval,
}

/// Derives an independent seed from `seed` and a number (splitmix64: Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
#[must_use]
pub fn mix_seed(seed: u64, stream: u64) -> u64 {
    let mut z = seed ^ stream.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Derives the seed of a named stream of random numbers, such as one tensor's or one layer's.
#[must_use]
pub fn name_seed(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |hash, byte| mix_seed(hash, u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::mix_seed;
    use std::collections::HashSet;

    #[test]
    fn nearby_seeds_and_streams_give_different_seeds() {
        let seen: HashSet<u64> =
            (0..50).flat_map(|seed| (0..50).map(move |stream| mix_seed(seed, stream))).collect();
        assert_eq!(seen.len(), 2500);
    }
}
