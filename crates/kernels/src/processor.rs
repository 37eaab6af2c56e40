//! What the processor is good at.

/// Checks whether the processor has instructions for products of bfloat16, with which libtorch multiplies it faster than
/// float32: AVX-512 BF16, which every processor with AMX has too, or Arm's BF16.
#[must_use]
pub fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("bf16");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
