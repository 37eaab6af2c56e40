//! An adapter off and on over the same weights: off, it is the base that is loaded alone, whatever the adapter changes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::ops::ControlFlow;

use common::{Scene, run};
use infer::{GenerateConfig, SamplingConfig};
use llama_finetune::{AskedQuantization, DeviceMapChoice, LoadConfig, ModelChoice, Prompt, TextModel};
use nn_core::{Dtype, UnknownSettings};
use tch::Device;

fn ids(model: &TextModel) -> Vec<Vec<i64>> {
    let sampling = SamplingConfig { do_sample: false, ..SamplingConfig::default() };
    let config = GenerateConfig { max_new_tokens: 12, sampling, ..GenerateConfig::default() };
    let answer = |word: &str| {
        let prompt = Prompt::instruction(&format!("Repeat {word}."));
        model.answer(&prompt, &config, &mut |_| ControlFlow::Continue(())).unwrap().generation.ids
    };
    ["sun", "moon", "river", "stone"].map(answer).to_vec()
}

#[test]
fn an_adapter_that_is_off_leaves_the_base() {
    for flags in [
        &[][..],
        &["--lora_variant", "dora"],
        &["--quantize", "nf4"],
        &["--modules_to_save", "lm_head,embed_tokens,norm"],
        &["--lora_target_modules", "q_proj,lm_head,embed_tokens", "--use_rslora"],
    ] {
        let scene = Scene::new();
        run(&mut scene.finetune("lora", &[&["--max_steps", "8", "--learning_rate", "0.05"], flags].concat()))
            .ok();
        let load = LoadConfig {
            device_map: DeviceMapChoice::None,
            device: Device::Cpu,
            dtype: Dtype::Float32,
            quantization: AskedQuantization::default(),
            unknown_settings: UnknownSettings::Refuse,
        };
        let (base, lora) = (scene.path("model"), scene.path("lora"));
        let (base, lora) = (base.to_str(), lora.to_str());
        let with = ModelChoice { base_model: base, adapter: lora, load };
        let (on, off) = TextModel::open_with_base(&with, None).unwrap();
        let off = off.unwrap();
        let (on_ids, off_ids) = (ids(&on), ids(&off));
        assert_ne!(on_ids, off_ids, "{flags:?}: the adapter changes nothing");
        assert!(on.description.contains("lora") && !off.description.contains("lora"), "{}", off.description);

        // As each is when it is loaded by itself; the base quantised as the adapter was trained over it.
        let quantization = AskedQuantization {
            scheme: flags.contains(&"nf4").then(llama_finetune::QuantizationChoice::nf4),
            double_quant: None,
        };
        let alone =
            ModelChoice { base_model: base, adapter: None, load: LoadConfig { quantization, ..load } };
        let (alone, none) = TextModel::open_with_base(&alone, Some("alpaca_short")).unwrap();
        assert!(none.is_none());
        assert_eq!(ids(&alone), off_ids, "{flags:?}");
        assert_eq!(ids(&TextModel::open(&with, None).unwrap()), on_ids, "{flags:?}");
    }
}
