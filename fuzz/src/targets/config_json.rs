//! `config.json` and the other settings in a Hugging Face directory, over weights that are sound.

use checkpoint::Base;
use llama_model::LlamaConfig;
use nn_core::{Dtype, Mode, TokenBatch, UnknownSettings};
use tch::Device;

use crate::Target;
use crate::files::{directory, joined, parts};
use crate::seeds::goldens;

const WEIGHTS: &[u8] = {
    let [weights] = goldens!("llama-model/tests/goldens/llama3/model.safetensors");
    weights
};
const GENERATION: &[u8] = br#"{"bos_token_id": 1, "eos_token_id": [2, 5], "temperature": 0.6}"#;
const TOKENIZER: &[u8] =
    br#"{"chat_template": [{"name": "default", "template": "{{ messages[0].content }}"}], "bos_token": "<s>"}"#;
/// Keys of bitsandbytes.
const QUANTIZED: &[u8] = br#"{"model_type": "llama", "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 48, "rope_parameters": {"rope_type": "yarn",
"rope_theta": 10000.0, "factor": 4.0, "beta_fast": 32, "beta_slow": 1, "mscale": 0.7}, "quantization_config": {"quant_method":
"bitsandbytes", "load_in_4bit": true, "load_in_8bit": false, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": true,
"bnb_4bit_compute_dtype": "bfloat16", "llm_int8_threshold": 6.0, "llm_int8_skip_modules": ["lm_head"]}}"#;

pub(super) const TARGET: Target = Target {
    name: "config_json",
    reads: "`config.json`, `generation_config.json`, `tokenizer_config.json`: `llama_model::LlamaConfig`, `checkpoint::Base`; what fits the weights is loaded and run",
    limit_s: 4,
    seeds: || {
        let files = goldens!(
            "llama-model/tests/goldens/llama3/config.json",
            "llama-model/tests/goldens/qwen2/config.json",
            "llama-model/tests/goldens/qwen3/config.json",
            "llama-model/tests/goldens/yarn/config.json",
            "llama-model/tests/goldens/dynamic/config.json",
        );
        let mut seeds: Vec<_> = files.map(<[u8]>::to_vec).to_vec();
        seeds.push(joined(&[files[0], GENERATION, TOKENIZER, b"{{ bos_token }}"]));
        seeds.push(QUANTIZED.to_vec());
        seeds
    },
    run: |bytes| {
        let mut files = parts(
            bytes,
            ["config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja"],
        );
        let config = String::from_utf8_lossy(files[0].1).into_owned();
        let _ = LlamaConfig::read(&config, UnknownSettings::Ignore).map(|(config, _)| config.to_json());
        files.push(("model.safetensors", WEIGHTS));
        let dir = directory("config", &files);
        let base = Base::open(&dir.to_string_lossy())?;
        base.check_weights()?;
        base.chat_template()?;
        base.stated_quantization()?;
        base.stored_quantization()?;
        let model = base.load(Device::Cpu, Dtype::Auto)?;
        let ids = [1_i64, 2, 3].map(|id| id % base.config.vocab_size.max(1));
        let batch = TokenBatch::from_sequences([(&ids[..], &ids[..])]);
        let _ = model.hidden_states(&batch, Mode::Eval)?;
        Ok(())
    },
};
