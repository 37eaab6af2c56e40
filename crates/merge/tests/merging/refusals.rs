//! Merges that fail.

use std::path::Path;

use merge::MergeError;
use tch::{Kind, Tensor};

use crate::common::{Q, R, UP, Weights, base, deltas, layer, merged, plans};

/// Merges into a directory in which nothing may be left, and tells what went wrong.
fn refused(weights: &Weights, layers: Vec<lora::AdapterLayer>, kind: Kind) -> MergeError {
    let dir = tempfile::tempdir().unwrap();
    let error = merged(dir.path(), weights, &deltas(layers), &plans(weights, kind)).unwrap_err();
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "something is left: {error}");
    error
}

#[test]
fn a_target_that_rounding_leaves_unchanged_is_named_with_its_norms() {
    let weights = base(Kind::BFloat16);
    let tiny = layer(&weights, Q, R, 1).with_scale(1e-12);
    let error = refused(&weights, vec![tiny, layer(&weights, UP, R, 2)], Kind::BFloat16);
    let text = error.to_string();
    assert!(matches!(error, MergeError::Unchanged { count: 1, expected: 2, .. }), "{text}");
    assert!(text.contains(Q) && text.contains("bfloat16"), "{text}");
    // In float32 twelve orders of magnitude are out of reach too, six are not.
    let small = layer(&weights, Q, R, 1).with_scale(1e-6);
    let dir = tempfile::tempdir().unwrap();
    let plans = plans(&weights, Kind::Float);
    let (_, proof) = merged(dir.path(), &weights, &deltas(vec![small]), &plans).unwrap();
    assert!(proof.targets[0].changed > 0);
}

#[test]
fn an_adapter_of_zeros_is_no_merge() {
    let weights = base(Kind::Float);
    let zero = layer(&weights, Q, R, 1);
    let _ = zero.b().shallow_clone().zero_();
    assert!(matches!(refused(&weights, vec![zero], Kind::Float), MergeError::Unchanged { .. }));
}

#[test]
fn a_delta_for_a_layer_that_is_not_written_is_named() {
    let weights = base(Kind::Float);
    let mut stray = layer(&weights, Q, R, 1);
    stray.path = nn_core::ModulePath::new("model.layers.7.self_attn.q_proj");
    let text = refused(&weights, vec![stray], Kind::Float).to_string();
    assert!(text.contains("model.layers.7.self_attn.q_proj.weight"), "{text}");
}

#[test]
fn a_weight_that_is_no_number_is_named_with_its_place() {
    for (name, value) in
        [("model.norm.weight", f64::NAN), ("model.layers.0.mlp.up_proj.weight", f64::INFINITY)]
    {
        let weights = base(Kind::Float);
        let _ = weights.0[name].view([-1]).get(-1).fill_(value);
        let text = refused(&weights, vec![layer(&weights, Q, R, 1)], Kind::Float).to_string();
        assert_eq!(text, format!("`{name}` holds NaN or infinity in the base"));
    }
    let mut weights = base(Kind::Float);
    let large = weights.0["model.norm.weight"].ones_like() * 1e6;
    weights.0.insert("model.norm.weight".to_owned(), large);
    let text = refused(&weights, vec![layer(&weights, Q, R, 1)], Kind::Half).to_string();
    assert!(text.contains("after rounding to float16"), "{text}");
    // Finite numbers whose sum is not.
    let largest = Tensor::full([8], 3e38, (Kind::Float, tch::Device::Cpu));
    weights.0.insert("model.norm.weight".to_owned(), largest);
    let dir = tempfile::tempdir().unwrap();
    merged(dir.path(), &weights, &deltas(vec![layer(&weights, Q, R, 1)]), &plans(&weights, Kind::Float))
        .unwrap();
}

#[test]
fn factors_of_another_shape_are_told_with_both() {
    let weights = base(Kind::Float);
    let own = layer(&weights, Q, R, 1);
    let a = crate::common::numbers(&[R, 9], 1);
    let wide = lora::AdapterLayer::low_rank(own.path.clone(), a, own.b().shallow_clone(), own.scale());
    let text = refused(&weights, vec![wide], Kind::Float).to_string();
    assert!(text.contains("[12, 9]") && text.contains("[12, 8]"), "{text}");
}

/// The temporary name is known, so a link to `/dev/full` under it stands for a disk without room.
#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!("skipped: /dev/full is absent");
        return;
    }
    let (dir, weights) = (tempfile::tempdir().unwrap(), base(Kind::Float));
    let temporary = dir.path().join(format!(".model.safetensors.tmp-{}", std::process::id()));
    std::os::unix::fs::symlink(full, temporary).unwrap();
    let layers = vec![layer(&weights, Q, R, 1)];
    let error = merged(dir.path(), &weights, &deltas(layers), &plans(&weights, Kind::Float)).unwrap_err();
    assert!(error.to_string().starts_with("the disk is full: cannot write `"), "{error}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
}
