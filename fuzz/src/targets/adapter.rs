//! PEFT's `adapter_config.json` and the `run.toml` beside it, over factors that are sound.

use checkpoint::model_shape;
use llama_finetune::TrainedWith;
use llama_model::LlamaConfig;
use lora::{Adapter, LoraConfig};
use nn_core::UnknownSettings;

use crate::Target;
use crate::files::{directory, joined, parts};
use crate::seeds::goldens;

const FACTORS: &[u8] = {
    let [factors] = goldens!("lora/tests/goldens/dora/adapter_model.safetensors");
    factors
};
const CONFIG: &str = include_str!("../../../crates/llama-model/tests/goldens/llama3/config.json");
const RUN: &[u8] = b"prompt_template_name = \"alpaca_short\"\nquantize = \"nf4\"\ndouble_quant = true\n";

pub(super) const TARGET: Target = Target {
    name: "adapter_config",
    reads: "`adapter_config.json`, `run.toml`: `lora::Adapter` and its parts for a model, `llama_finetune::TrainedWith`",
    limit_s: 4,
    seeds: || {
        let files = goldens!(
            "lora/tests/goldens/dora/adapter_config.json",
            "lora/tests/goldens/patterns/adapter_config.json",
            "lora/tests/goldens/saved/adapter_config.json",
            "lora/tests/goldens/pissa/adapter_config.json",
            "lora/tests/goldens/tokens/adapter_config.json",
            "lora/tests/peft_0_21_adapter_config.json",
        );
        let mut seeds: Vec<_> = files.map(<[u8]>::to_vec).to_vec();
        seeds.push(joined(&[files[0], RUN]));
        seeds
    },
    run: |bytes| {
        let mut files = parts(bytes, ["adapter_config.json", "run.toml"]);
        files.push(("adapter_model.safetensors", FACTORS));
        let dir = directory("adapter", &files);
        let _ = LoraConfig::from_dir_with(&dir, UnknownSettings::Ignore);
        let trained = TrainedWith::read(&dir);
        let adapter = Adapter::read(&dir)?;
        let model = model_shape(&LlamaConfig::from_json(CONFIG)?);
        adapter.trained_parts(&model)?;
        trained?;
        Ok(())
    },
};
