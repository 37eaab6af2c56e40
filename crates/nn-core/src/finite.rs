//! Numbers that are none.

use tch::{Kind, Tensor};

use crate::{TorchContext, TorchFailure};

/// Checks that no element is NaN or infinite. A sum tells that in one pass; a sum that overflows is looked at again.
///
/// # Errors
/// [`TorchFailure`] when libtorch refuses.
pub fn all_finite(xs: &Tensor) -> Result<bool, TorchFailure> {
    let number = |xs: &Tensor| xs.f_double_value(&[]).op("double_value");
    let sum = xs.f_detach().op("detach")?.f_sum(Kind::Float).op("sum")?;
    Ok(number(&sum)?.is_finite() || number(&xs.f_isfinite().op("isfinite")?.f_all().op("all")?)? != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_that_is_none_is_seen_and_a_sum_that_overflows_is_none() {
        let xs = Tensor::full([3, 5], 3e38, tch::kind::FLOAT_CPU);
        assert!(all_finite(&xs).unwrap());
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
                let xs = Tensor::ones([3, 5], tch::kind::FLOAT_CPU).to_kind(kind);
                assert!(all_finite(&xs).unwrap());
                let _ = xs.get(1).get(2).fill_(bad);
                assert!(!all_finite(&xs).unwrap(), "{bad} {kind:?}");
            }
        }
    }
}
