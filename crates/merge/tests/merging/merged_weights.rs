//! Merged weights.

use lora::{AdapterLayer, LoraAdapters, LoraConfig, TargetModules, VariantName};
use merge::{BaseTensors, Destination, Placement, TensorPlan, merge};
use nn_core::{DenseLinear, LinearSlot, ModulePath, VisitLinears};
use proptest::prelude::*;
use tch::{Kind, Tensor};
use weights::{TensorSpec, TensorStore, TorchWriter};

use crate::common::{
    ALPHA, Q, R, UP, base, deltas, largest_difference, layer, merged, merged_from, numbers, plans,
};

/// Sums of a few products in float32.
const SAME: f64 = 1e-5;

#[test]
fn the_merged_layer_computes_what_the_adapted_one_does() {
    let (dir, weights) = (tempfile::tempdir().unwrap(), base(Kind::Float));
    let layers = || vec![layer(&weights, Q, R, 100), layer(&weights, UP, R, 200)];
    let (store, proof) =
        merged(dir.path(), &weights, &deltas(layers()), &plans(&weights, Kind::Float)).unwrap();
    for (adapter, seen) in layers().iter().rev().zip(&proof.targets) {
        let name = format!("{}.weight", adapter.path);
        let (before, after) = (&weights.0[&name], store.tensor(&name).unwrap());
        let xs = numbers(&[5, before.size()[1]], 7);
        // Through the factors, never through a product of them.
        let adapted =
            xs.matmul(&before.tr()) + xs.matmul(&adapter.a().tr()).matmul(&adapter.b().tr()) * (ALPHA / 3.0);
        // Of sums of up to 900 products.
        assert!(largest_difference(&xs.matmul(&after.tr()), &adapted) < 100.0 * SAME, "{name}");
        assert!(largest_difference(&xs.matmul(&before.tr()), &adapted) > 1.0, "{name}");
        let norm_of = |xs: &Tensor| xs.to_kind(Kind::Double).norm().double_value(&[]);
        let norm = norm_of(&adapter.b().matmul(adapter.a())) * ALPHA / 3.0;
        assert_eq!(seen.name, name);
        assert!((seen.delta_norm / norm - 1.0).abs() < SAME && seen.changed == seen.elements, "{seen:?}");
        assert!((seen.base_norm / norm_of(before) - 1.0).abs() < SAME, "{seen:?}");
    }
    assert_eq!((proof.targets.len(), proof.untouched), (2, 2));
}

/// A model of the two linear layers.
struct Linears(Vec<(ModulePath, LinearSlot)>);

impl VisitLinears for Linears {
    fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot)) {
        self.0.iter_mut().for_each(|(path, slot)| visit(path, slot));
    }
}

/// A few rows at a time on one side, all of them on the other.
#[test]
fn every_variant_merges_into_the_dense_weight_of_its_layer() {
    let weights = base(Kind::Float);
    for variant in VariantName::known() {
        let slot = |path: &str| {
            let weight = weights.0[&format!("{path}.weight")].shallow_clone();
            (ModulePath::new(path), LinearSlot::new(Box::new(DenseLinear::new(weight, None))))
        };
        let mut model = Linears([Q, UP].map(slot).into());
        let names = ["q_proj", "up_proj"].map(str::to_owned).to_vec();
        let target_modules = Some(TargetModules::Names(names));
        let config = LoraConfig {
            r: R,
            lora_alpha: ALPHA,
            target_modules,
            variant: variant.into(),
            ..LoraConfig::default()
        };
        let adapters = LoraAdapters::attach(&mut model, &config, 1).unwrap();
        for (from, (_, mut tensor)) in (1..).zip(adapters.parameters()) {
            tch::no_grad(|| tensor.copy_(&numbers(&tensor.size(), from)));
        }
        let layers = adapters.layers().iter().map(AdapterLayer::shallow_clone).collect();
        let dir = tempfile::tempdir().unwrap();
        let (store, proof) =
            merged(dir.path(), &weights, &deltas(layers), &plans(&weights, Kind::Float)).unwrap();
        assert_eq!(proof.targets.len(), 2);
        for (path, slot) in &model.0 {
            let after = store.tensor(&format!("{path}.weight")).unwrap();
            let expected = tch::no_grad(|| slot.get().dense_weight(Kind::Float).unwrap());
            assert!(largest_difference(&after, &expected) < SAME, "{variant}, {path}");
        }
    }
}

#[test]
fn tensors_without_adapter_stay_bit_for_bit() {
    for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
        let (dir, weights) = (tempfile::tempdir().unwrap(), base(kind));
        let (store, _) =
            merged(dir.path(), &weights, &deltas(vec![layer(&weights, Q, R, 1)]), &plans(&weights, kind))
                .unwrap();
        for (name, before) in weights.0.iter().filter(|(name, _)| !name.contains("q_proj")) {
            assert_eq!(&store.tensor(name).unwrap(), before, "{name}");
        }
    }
}

/// Double precision, rounded once, is the nearest number there is.
#[test]
fn the_sum_is_rounded_once_to_the_precision_of_the_files() {
    let weights = base(Kind::Float);
    let adapter = layer(&weights, UP, R, 9);
    let exact = weights.0[&format!("{UP}.weight")].to_kind(Kind::Double)
        + adapter.b().to_kind(Kind::Double).matmul(&adapter.a().to_kind(Kind::Double)) * (ALPHA / 3.0);
    for kind in [Kind::BFloat16, Kind::Half, Kind::Float] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) =
            merged(dir.path(), &weights, &deltas(vec![adapter.shallow_clone()]), &plans(&weights, kind))
                .unwrap();
        let after = store.tensor(&format!("{UP}.weight")).unwrap();
        let nearest = exact.to_kind(kind);
        // Sums in float32 fall on the other side of a middle now and then.
        let other = after.ne_tensor(&nearest).count_nonzero(None).int64_value(&[]);
        let allowed = if kind == Kind::Float { i64::MAX } else { 1400 * 900 / 500 };
        assert!(other < allowed, "{kind:?}: {other}");
        let step = match kind {
            Kind::BFloat16 => 2f64.powi(-7),
            Kind::Half => 2f64.powi(-10),
            // Three products of up to seven, each rounded.
            _ => 2f64.powi(-20),
        };
        let relative = (after.to_kind(Kind::Double) - &exact).abs() / (exact.abs() + 1.0);
        assert!(relative.max().double_value(&[]) < step, "{kind:?}");
    }
}

#[test]
fn a_delta_is_added_to_the_prepared_base() {
    let (dir, weights) = (tempfile::tempdir().unwrap(), base(Kind::Float));
    // Stands for there and back through a quantisation, on linear layers only.
    let coarse = |xs: &Tensor| (xs * 8.0).round() / 8.0;
    let prepare =
        |name: &str, weight: Tensor| Ok(if name.contains("_proj") { coarse(&weight) } else { weight });
    let adapter = layer(&weights, Q, R, 5);
    let (store, proof) = merged_from(
        dir.path(),
        &BaseTensors { source: &weights, prepare: &prepare },
        &deltas(vec![adapter.shallow_clone()]),
        &plans(&weights, Kind::Float),
    )
    .unwrap();
    let name = format!("{Q}.weight");
    let expected = coarse(&weights.0[&name]) + adapter.b().matmul(adapter.a()) * (ALPHA / 3.0);
    assert!(largest_difference(&store.tensor(&name).unwrap(), &expected) < SAME);
    let up = format!("{UP}.weight");
    assert_eq!(store.tensor(&up).unwrap(), coarse(&weights.0[&up]));
    assert_eq!((proof.targets.len(), proof.untouched), (1, 3));
}

#[test]
fn rows_behind_the_vocabulary_are_the_mean_of_it() {
    let (dir, weights) = (tempfile::tempdir().unwrap(), base(Kind::Float));
    let mut plans = plans(&weights, Kind::Float);
    plans[0].added_rows = 3;
    assert_eq!(plans[0].name, "model.embed_tokens.weight");
    let (store, _) = merged(dir.path(), &weights, &deltas(vec![layer(&weights, Q, R, 1)]), &plans).unwrap();
    let (before, after) = (&weights.0[&plans[0].name], store.tensor(&plans[0].name).unwrap());
    assert_eq!(after.size(), [13, 8]);
    assert_eq!(&after.narrow(0, 0, 10), before);
    let mean = before.mean_dim(0, false, Kind::Double);
    for row in 10..13 {
        assert!(largest_difference(&after.get(row), &mean) < SAME);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Rows of a projection, cut into model-parallel files along its outputs or its inputs, and put together again.
    #[test]
    fn every_element_arrives_in_its_place_for_any_row_order_and_shards(
        heads_per_shard in 1i64..4, order in (0usize..9).prop_flat_map(|len| Just((0..len as i64).collect::<Vec<_>>()).prop_shuffle()),
        columns_per_shard in 1i64..5, shards in 1i64..4, along_rows in any::<bool>(),
    ) {
        let head_dim = order.len().max(1) as i64;
        let (rows, columns) = (heads_per_shard * shards * head_dim, columns_per_shard * shards);
        let weight = numbers(&[rows, columns], 3);
        let tensor = TensorPlan { name: "w".to_owned(), shape: vec![rows, columns], added_rows: 0, kind: Kind::Float };
        let part = |shard: i64, len: i64| shard * len / shards..(shard + 1) * len / shards;
        let destinations: Vec<Destination> = (0..shards).map(|shard| Destination {
            file: shard as usize,
            name: "w".to_owned(),
            rows: if along_rows { part(shard, rows) } else { 0..rows },
            columns: (!along_rows).then(|| part(shard, columns)),
        }).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = |shard: usize| dir.path().join(format!("consolidated.{shard:02}.pth"));
        let shape = if along_rows { vec![rows / shards, columns] } else { vec![rows, columns / shards] };
        let mut files: Vec<_> = (0..shards as usize).map(|shard| {
            let spec = TensorSpec { name: "w".to_owned(), kind: Kind::Float, shape: shape.clone() };
            TorchWriter::new(&path(shard), vec![spec], &[]).unwrap().stream().unwrap()
        }).collect();
        let mut weights = crate::common::Weights::default();
        weights.0.insert("w".to_owned(), weight.shallow_clone());
        let placements = [Placement { tensor, row_order: order.clone(), destinations }];
        let base = BaseTensors { source: &weights, prepare: &|_, w| Ok(w) };
        merge(&base, &deltas(vec![]), &placements, &mut files, &mut |_| {}).unwrap();
        for file in files {
            file.finish().unwrap();
        }
        let parts: Vec<Tensor> = (0..shards as usize)
            .map(|shard| TensorStore::open_file(&path(shard)).unwrap().tensor("w").unwrap())
            .collect();
        let whole = Tensor::cat(&parts, i64::from(!along_rows));
        for row in 0..rows {
            let place = (row % head_dim) as usize;
            let from = row / head_dim * head_dim + order.get(place).copied().unwrap_or(0);
            prop_assert_eq!(whole.get(row), weight.get(from), "row {}", row);
        }
    }
}
