//! Plain loops, compiled for the widest vectors of the processor.

/// Defines a function of slices and numbers whose body is compiled for AVX-512, for AVX2 and for the least processor, and that
/// runs the widest of them that this processor has. Functions that the body calls have to be `#[inline(always)]`.
///
/// The body is a function of its own and no closure, which the compiler may leave out of line: compiled for the least
/// processor.
macro_rules! widest {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($type:ident: $bound:path),+>)? ($($arg:ident: $of:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls what needs instructions that are there"))]
        $vis fn $name $(<$($type: $bound),+>)? ($($arg: $of),*) $(-> $ret)? {
            #[inline(always)]
            fn plain $(<$($type: $bound),+>)? ($($arg: $of),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                fn by_512 $(<$($type: $bound),+>)? ($($arg: $of),*) $(-> $ret)? {
                    plain($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,f16c")]
                fn by_256 $(<$($type: $bound),+>)? ($($arg: $of),*) $(-> $ret)? {
                    plain($($arg),*)
                }
                match $crate::widest::Vectors::here() {
                    // SAFETY: the instructions are there.
                    $crate::widest::Vectors::Of512 => return unsafe { by_512($($arg),*) },
                    // SAFETY: the instructions are there.
                    $crate::widest::Vectors::Of256 => return unsafe { by_256($($arg),*) },
                    $crate::widest::Vectors::Least => {}
                }
            }
            plain($($arg),*)
        }
    };
}
pub(crate) use widest;

/// The vectors that loops are compiled for, by their bits.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vectors {
    Of512,
    Of256,
    Least,
}

#[cfg(target_arch = "x86_64")]
impl Vectors {
    /// Returns the widest of this processor.
    #[inline]
    pub(crate) fn here() -> Self {
        let of_256 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let of_512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (of_256, of_512) {
            (true, true) => Self::Of512,
            (true, false) => Self::Of256,
            (false, _) => Self::Least,
        }
    }
}
