//! The way back from two checkpoints to an adapter.

use merge::unmerge;
use tch::{Kind, Tensor};

use crate::common::{largest_difference, numbers};

/// Singular values in float32, of matrices whose largest are near 100.
const SAME: f64 = 1e-3;

#[test]
fn a_difference_of_rank_r_comes_back_whole() {
    // The second is decomposed in a range found at random.
    for shape in [[40, 24], [1100, 1040]] {
        let (a, b) = (numbers(&[3, shape[1]], 1), numbers(&[shape[0], 3], 2));
        let (delta, base) = (b.matmul(&a), numbers(&shape, 5));
        let found = unmerge("w", &base, &(&base + &delta), 3, 7.0 / 3.0).unwrap().unwrap();
        assert_eq!((found.layer.a().size(), found.layer.b().size()), (vec![3, shape[1]], vec![shape[0], 3]));
        assert!(
            largest_difference(&(found.layer.b().matmul(found.layer.a()) * (7.0 / 3.0)), &delta) < SAME,
            "{shape:?}"
        );
        assert!(found.residual_norm < 1e-4 * found.delta_norm, "{}", found.residual_norm);
    }
}

#[test]
fn the_residual_is_what_the_rank_cannot_hold() {
    let values = [8.0, 4.0, 2.0, 1.0];
    let orthogonal = |rows: i64, from: i64| Tensor::linalg_qr(&numbers(&[rows, 4], from), "reduced").0;
    let delta = (orthogonal(30, 1) * Tensor::from_slice(&values).to_kind(Kind::Float))
        .matmul(&orthogonal(20, 2).tr());
    let base = numbers(&[30, 20], 3);
    let found = unmerge("w", &base, &(&base + &delta), 2, 0.5).unwrap().unwrap();
    assert!((found.delta_norm - 85f64.sqrt()).abs() < SAME);
    assert!((found.residual_norm - 5f64.sqrt()).abs() < SAME, "{}", found.residual_norm);
}

#[test]
fn equal_weights_have_no_adapter_and_impossible_ones_are_refused() {
    let base = numbers(&[6, 4], 1);
    assert!(unmerge("w", &base, &base, 2, 1.0).unwrap().is_none());
    let error = unmerge("w", &base, &(&base * 2.0), 5, 1.0).unwrap_err().to_string();
    assert!(error.contains("`r` is 5") && error.contains("at most rank 4"), "{error}");
    let nan = Tensor::full([6, 4], f64::NAN, (Kind::Float, tch::Device::Cpu));
    assert!(unmerge("w", &base, &nan, 1, 1.0).unwrap_err().to_string().contains("`w` holds NaN"));
}
