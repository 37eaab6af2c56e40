//! The loops for AVX-512 and AVX2.
#![expect(unsafe_code, reason = "std::arch, behind checks of what the processor has")]

#[allow(clippy::wildcard_imports, reason = "the names of instructions; tests may import whole modules")]
use std::arch::x86_64::*;

use half::{bf16, f16};

use super::dot::{Dot, GROUP};

/// Returns the loop for weights of `W` and inputs in float32; `None` where the machine lacks the instructions.
pub(super) fn of_f32<W: Load>() -> Option<Dot<W, f32>> {
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: as asked.
        return Some(unsafe { Dot::new(avx512::<W>) });
    }
    let avx2 = is_x86_feature_detected!("avx2");
    let there = avx2 && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    // SAFETY: as asked.
    there.then(|| unsafe { Dot::new(avx2_fma::<W>) })
}

/// Returns the loop whose weights and inputs are both bfloat16; their products are exact in float32. It reads a weight half as
/// often into registers as [`of_f32`] does, and keeps up with memory where that does not.
pub(super) fn of_bf16() -> Option<Dot<bf16, bf16>> {
    let there = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
    // SAFETY: as asked.
    there.then(|| unsafe { Dot::new(avx512_bf16) })
}

/// Elements as float32, in registers.
pub(super) trait Load: Copy {
    /// Loads 16 elements.
    ///
    /// # Safety
    /// AVX-512F; 16 elements at `from`.
    unsafe fn load16(from: *const Self) -> __m512;
    /// Loads 8 elements.
    ///
    /// # Safety
    /// AVX2 and F16C; 8 elements at `from`.
    unsafe fn load8(from: *const Self) -> __m256;
    /// Returns the element as float32.
    fn as_f32(self) -> f32;
}

impl Load for f32 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load16(from: *const Self) -> __m512 {
        // SAFETY: by the caller, 16 elements are there.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load8(from: *const Self) -> __m256 {
        // SAFETY: by the caller, 8 elements are there.
        unsafe { _mm256_loadu_ps(from) }
    }
    fn as_f32(self) -> f32 {
        self
    }
}

impl Load for bf16 {
    /// Widens: a bfloat16 is the upper half of a float32.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load16(from: *const Self) -> __m512 {
        // SAFETY: by the caller, 16 elements are there.
        unsafe {
            _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())), 16))
        }
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load8(from: *const Self) -> __m256 {
        // SAFETY: by the caller, 8 elements are there.
        unsafe {
            _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())), 16))
        }
    }
    fn as_f32(self) -> f32 {
        self.to_f32()
    }
}

impl Load for f16 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load16(from: *const Self) -> __m512 {
        // SAFETY: by the caller, 16 elements are there.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load8(from: *const Self) -> __m256 {
        // SAFETY: by the caller, 8 elements are there.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }
    fn as_f32(self) -> f32 {
        self.to_f32()
    }
}

/// Registers that add up beside each other for each row of inputs, so that no addition waits for the one before.
const LANES: usize = 4;

/// Defines a loop (see [`super::dot::Loop`]) of one set of instructions: `$size` elements of the weight `W` and of the inputs `X` go
/// into a register each and are multiplied and added by `$multiply_add`.
macro_rules! kernel {
    ($name:ident [$($w:ident: $bound:ident)?], $weight:ty, $input:ty, $features:literal, $size:literal,
     $load:expr, $load_input:expr, $zero:ident, $multiply_add:expr, $sum:expr) => {
        /// Computes the products of a row with some rows of inputs.
        ///
        /// # Safety
        /// The machine has the instructions; the pointers hold what [`super::dot::Loop`] says.
        #[target_feature(enable = $features)]
        unsafe fn $name<$($w: $bound)?>(weight: *const $weight, inputs: *const $input, width: usize, rows: usize) -> [f32; GROUP] {
            #[target_feature(enable = $features)]
            unsafe fn rows_of<$($w: $bound,)? const R: usize>(
                weight: *const $weight,
                inputs: *const $input,
                width: usize,
            ) -> [f32; GROUP] {
                let mut dots = [0.0; GROUP];
                let mut sums = [[$zero(); LANES]; R];
                let mut at = 0;
                // SAFETY: every access is below `width`, and the caller's promise.
                unsafe {
                    while at + $size * LANES <= width {
                        for lane in 0..LANES {
                            let place = at + lane * $size;
                            let w = $load(weight.add(place));
                            for row in 0..R {
                                let x = $load_input(inputs.add(row * width + place));
                                sums[row][lane] = $multiply_add(w, x, sums[row][lane]);
                            }
                        }
                        at += $size * LANES;
                    }
                    while at + $size <= width {
                        let w = $load(weight.add(at));
                        for row in 0..R {
                            let x = $load_input(inputs.add(row * width + at));
                            sums[row][0] = $multiply_add(w, x, sums[row][0]);
                        }
                        at += $size;
                    }
                    for row in 0..R {
                        dots[row] = $sum(sums[row]);
                        for rest in at..width {
                            dots[row] += (*weight.add(rest)).as_f32() * (*inputs.add(row * width + rest)).as_f32();
                        }
                    }
                }
                dots
            }
            // SAFETY: the caller's promise.
            unsafe {
                match rows {
                    1 => rows_of::<$($w,)? 1>(weight, inputs, width),
                    2 => rows_of::<$($w,)? 2>(weight, inputs, width),
                    3 => rows_of::<$($w,)? 3>(weight, inputs, width),
                    _ => rows_of::<$($w,)? 4>(weight, inputs, width),
                }
            }
        }
    };
}

kernel!(
    avx512 [W: Load], W, f32, "avx512f", 16,
    W::load16, _mm512_loadu_ps, _mm512_setzero_ps, _mm512_fmadd_ps, sum512
);
kernel!(
    avx512_bf16 [],
    bf16,
    bf16,
    "avx512f,avx512bf16",
    32,
    load32,
    load32,
    _mm512_setzero_ps,
    |w, x, sum| _mm512_dpbf16_ps(sum, w, x),
    sum512
);
kernel!(
    avx2_fma [W: Load], W, f32, "avx2,fma,f16c", 8,
    W::load8, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_fmadd_ps, sum256
);

/// Loads 32 elements.
///
/// # Safety
/// 32 elements at `from`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn load32(from: *const bf16) -> __m512bh {
    // SAFETY: the caller's promise; both types are 512 bits.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sum512([a, b, c, d]: [__m512; LANES]) -> f32 {
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum256([a, b, c, d]: [__m256; LANES]) -> f32 {
    let sum = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    let mut eight = [0.0; 8];
    // SAFETY: eight elements.
    unsafe { _mm256_storeu_ps(eight.as_mut_ptr(), sum) };
    eight.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares every loop: one that this machine would not choose by itself is right too.
    #[test]
    fn every_instruction_set_gives_the_same_products() {
        let width = 8 * 16 + 77;
        let value = |i: usize| (i * 37 % 64) as f32 / 32.0 - 1.0; // exact in all three kinds
        let (w, x): (Vec<f32>, Vec<f32>) =
            ((0..width).map(value).collect(), (0..4 * width).map(|i| value(i + 5)).collect());
        let exact: Vec<f32> = x.chunks(width).map(|x| x.iter().zip(&w).map(|(x, w)| x * w).sum()).collect();
        let (w16, x16) = (w.iter().map(|&w| bf16::from_f32(w)), x.iter().map(|&x| bf16::from_f32(x)));
        let (w16, x16): (Vec<bf16>, Vec<bf16>) = (w16.collect(), x16.collect());
        let half: Vec<f16> = w.iter().map(|&w| f16::from_f32(w)).collect();
        let check = |dots: [f32; GROUP]| {
            assert!(
                dots.iter().zip(&exact).all(|(dot, exact)| (dot - exact).abs() < 1e-3),
                "{dots:?} {exact:?}"
            );
        };
        // SAFETY: the instructions are there; the operands are of these sizes.
        unsafe {
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                check(avx2_fma(w.as_ptr(), x.as_ptr(), width, 4));
                check(avx2_fma(w16.as_ptr(), x.as_ptr(), width, 4));
                check(avx2_fma(half.as_ptr(), x.as_ptr(), width, 4));
            }
            if is_x86_feature_detected!("avx512f") {
                check(avx512(w16.as_ptr(), x.as_ptr(), width, 4));
                check(avx512(half.as_ptr(), x.as_ptr(), width, 4));
            }
            if let Some(kernel) = of_bf16() {
                check(kernel.call(&w16, &x16));
            }
        }
    }
}
