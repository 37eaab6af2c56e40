//! Against PEFT's own `merge_and_unload`.

use serde::Deserialize;
use tch::Kind;
use weights::TensorStore;

use crate::common::{Scene, run, shared_data};
use crate::scene::merge;

#[derive(Deserialize)]
struct Golden {
    merged_q_proj0_first8: Vec<f64>,
}

#[test]
fn the_reference_adapter_merges_as_peft_merges_it() {
    let Some(shared) = shared_data("the_reference_adapter_merges_as_peft_merges_it") else { return };
    let scene = Scene::new();
    let text = std::fs::read_to_string(shared.join("peft-golden-stories15M/golden.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let base = shared.join("models/stories15M-hf");
    for adapter in ["adapter_final", "adapter_final_bin"] {
        let adapter = shared.join("peft-golden-stories15M").join(adapter);
        for (dtype, kind) in [("float32", Kind::Float), ("float16", Kind::Half), ("bfloat16", Kind::BFloat16)]
        {
            let own = ["--base_model", base.to_str().unwrap(), "--lora_weights", adapter.to_str().unwrap()];
            let more = ["--output_dir", "out", "--dtype", dtype, "--overwrite_output_dir"];
            run(&mut merge(&scene, &[own.as_slice(), &more].concat())).ok();
            let store = TensorStore::open(&scene.path("out")).unwrap();
            let merged = store.tensor("model.layers.0.self_attn.q_proj.weight").unwrap();
            assert_eq!(merged.kind(), kind);
            // The last bit of float32 sums, or one rounding.
            let relative = match kind {
                Kind::Float => 2f64.powi(-22),
                Kind::Half => 2f64.powi(-11),
                _ => 2f64.powi(-8),
            };
            for (index, expected) in (0..).zip(&golden.merged_q_proj0_first8) {
                let actual = merged.double_value(&[0, index]);
                assert!(
                    (actual - expected).abs() <= relative * expected.abs().max(0.01),
                    "{dtype}: {actual} {expected}"
                );
            }
        }
    }
}
