//! Seeds from seeds.

/// Derives an independent seed from `seed` and a number (splitmix64: Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
#[must_use]
pub fn mix_seed(seed: u64, stream: u64) -> u64 {
    let mut z = seed ^ stream.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
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
