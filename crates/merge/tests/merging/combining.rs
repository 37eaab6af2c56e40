//! Several adapters, weights and scale.

use merge::{Combination, Deltas, MergeError, WeightedAdapter};
use tch::{Kind, Tensor};

use crate::common::{ALPHA, Q, R, UP, base, largest_difference, layer};

const SAME: f64 = 1e-5;

fn delta(deltas: &Deltas, path: &str) -> Tensor {
    let layer = deltas.layer(path).unwrap().unwrap();
    layer.b().matmul(layer.a()) * layer.scale()
}

fn two(
    combination: Combination,
    ranks: [i64; 2],
    weights: [f64; 2],
    scale: f64,
) -> Result<Deltas, MergeError> {
    let base = base(Kind::Float);
    let adapters = ranks
        .iter()
        .zip(weights)
        .zip([100, 300])
        .map(|((&r, weight), from)| WeightedAdapter { parts: vec![layer(&base, Q, r, from)].into(), weight });
    Deltas::new(adapters.collect(), combination, scale)
}

/// The factors of both adapters, and the scale of each.
fn parts(ranks: [i64; 2]) -> [(Tensor, Tensor, f64); 2] {
    let base = base(Kind::Float);
    [(ranks[0], 100), (ranks[1], 300)].map(|(r, from)| {
        let layer = layer(&base, Q, r, from);
        (layer.a().shallow_clone(), layer.b().shallow_clone(), ALPHA / r as f64)
    })
}

#[test]
fn cat_is_the_weighted_sum_of_the_deltas() {
    let [(a1, b1, s1), (a2, b2, s2)] = parts([3, 2]);
    let expected = b1.matmul(&a1) * (0.7 * s1) + b2.matmul(&a2) * (-0.3 * s2);
    let deltas = two(Combination::Cat, [3, 2], [0.7, -0.3], 1.0).unwrap();
    assert!(largest_difference(&delta(&deltas, Q), &expected) < SAME);
    assert_eq!(deltas.layer(Q).unwrap().unwrap().a().size(), [5, 8]);
    let doubled = two(Combination::Cat, [3, 2], [0.7, -0.3], 2.0).unwrap();
    assert!(largest_difference(&delta(&doubled, Q), &(expected * 2.0)) < SAME);
}

#[test]
fn linear_adds_factors_by_the_roots_of_their_weights() {
    let [(a1, b1, s1), (a2, b2, s2)] = parts([3, 3]);
    let (u1, u2) = ((0.7 * s1).sqrt(), (0.3 * s2).sqrt());
    let expected = (&b1 * u1 + &b2 * u2).matmul(&(&a1 * u1 + &a2 * u2));
    let deltas = two(Combination::Linear, [3, 3], [0.7, 0.3], 1.0).unwrap();
    assert!(largest_difference(&delta(&deltas, Q), &expected) < SAME);
    // It is not the sum.
    let sum = b1.matmul(&a1) * (0.7 * s1) + b2.matmul(&a2) * (0.3 * s2);
    assert!(largest_difference(&expected, &sum) > 0.1);
    // A negative weight turns the delta of an adapter alone round.
    let alone = |weight: f64| {
        let adapters =
            |name| WeightedAdapter { parts: vec![layer(&base(Kind::Float), name, R, 1)].into(), weight };
        Deltas::new(vec![adapters(Q), adapters(UP)], Combination::Linear, 1.0).unwrap()
    };
    assert!(largest_difference(&delta(&alone(-0.5), Q), &-delta(&alone(0.5), Q)) < SAME);
}

#[test]
fn an_adapter_that_lacks_a_layer_adds_nothing_there() {
    let base = base(Kind::Float);
    let adapter = |path, weight| WeightedAdapter { parts: vec![layer(&base, path, R, 1)].into(), weight };
    let deltas = Deltas::new(vec![adapter(Q, 0.5), adapter(UP, 1.0)], Combination::Cat, 3.0).unwrap();
    assert_eq!(deltas.paths().collect::<Vec<_>>(), [UP, Q]);
    let alone = layer(&base, Q, R, 1);
    let expected = alone.b().matmul(alone.a()) * (alone.scale() * 0.5 * 3.0);
    assert!(largest_difference(&delta(&deltas, Q), &expected) < SAME);
}

#[test]
fn impossible_combinations_are_rejected() {
    let error = two(Combination::Linear, [3, 2], [1.0, 1.0], 1.0).unwrap_err().to_string();
    assert!(error.contains("`linear` needs adapters of one rank") && error.contains("3 and 2"), "{error}");
    for (weight, scale, field) in [(0.0, 1.0, "weight"), (f64::NAN, 1.0, "weight"), (1.0, 0.0, "scale")] {
        let error = two(Combination::Cat, [3, 2], [1.0, weight], scale).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{field}` is ")), "{error}");
    }
}
