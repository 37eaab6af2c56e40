//! Training and evaluation mode.

pub use kernels::mix_seed;

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

/// Derives the seed of a named stream of random numbers, such as one tensor's or one layer's.
#[must_use]
pub fn name_seed(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |hash, byte| mix_seed(hash, u64::from(byte)))
}
