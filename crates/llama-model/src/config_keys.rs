//! Every key of a `config.json` that is known, and what is done with it.
//!
//! The keys are those of transformers' `LlamaConfig`, `Qwen2Config`, `Qwen3Config` and `PreTrainedConfig` (4.57 and 5.24), and those
//! that other programs leave in real files. A key that is not here is refused where it could change what the model computes.

use nn_core::{SettingRole, SettingTable};
use serde_json::Value;

use SettingRole::{Harmless, Noted, Only, Used};

/// Keys of `config.json`.
pub const CONFIG_KEYS: &SettingTable = &[
    // The shape.
    ("model_type", Used),
    ("vocab_size", Used),
    ("hidden_size", Used),
    ("intermediate_size", Used),
    ("num_hidden_layers", Used),
    ("num_attention_heads", Used),
    ("num_key_value_heads", Used),
    ("head_dim", Used),
    ("hidden_act", Used),
    ("max_position_embeddings", Used),
    ("max_sequence_length", Used),
    ("rms_norm_eps", Used),
    ("rope_theta", Used),
    ("rope_scaling", Used),
    ("rope_parameters", Used),
    ("original_max_position_embeddings", Used),
    ("attention_bias", Used),
    ("mlp_bias", Used),
    ("tie_word_embeddings", Used),
    ("use_sliding_window", Used),
    ("sliding_window", Used),
    ("max_window_layers", Used),
    ("initializer_range", Used),
    ("bos_token_id", Used),
    ("eos_token_id", Used),
    ("pad_token_id", Used),
    ("dtype", Used),
    ("torch_dtype", Used),
    ("quantization_config", Used),
    // Ways to compute that the decoder does not have.
    ("layer_types", Only(is_full_attention, "only attention to the whole text is supported")),
    ("partial_rotary_factor", Only(is_one, "only heads that are rotated as a whole are supported")),
    ("per_layer_config", Only(never, "all layers have to be alike")),
    ("pruned_heads", Only(never, "all layers have to have all of their heads")),
    ("add_cross_attention", Only(never, "only decoders are supported")),
    ("cross_attention_hidden_size", Only(never, "only decoders are supported")),
    ("is_encoder_decoder", Only(never, "only decoders are supported")),
    ("tie_encoder_decoder", Only(never, "only decoders are supported")),
    ("rope_interleaved", Only(never, "only rotation of the two halves of a head is supported")),
    ("use_qk_norm", Only(never, "only Qwen3 has norms on the heads of q and k")),
    ("qk_layernorm", Only(never, "only Qwen3 has norms on the heads of q and k")),
    ("num_local_experts", Only(never, "mixtures of experts are not supported")),
    ("num_experts", Only(never, "mixtures of experts are not supported")),
    ("num_experts_per_tok", Only(never, "mixtures of experts are not supported")),
    ("no_rope_layers", Only(never, "every layer has to rotate its heads")),
    ("no_rope_layer_interval", Only(never, "every layer has to rotate its heads")),
    ("attn_logit_softcapping", Only(never, "scores are used as they are")),
    ("final_logit_softcapping", Only(never, "scores are used as they are")),
    ("logit_scale", Only(is_one, "scores are used as they are")),
    ("logits_scaling", Only(is_one, "scores are used as they are")),
    ("embedding_multiplier", Only(is_one, "embeddings are used as they are")),
    ("scale_emb", Only(is_one, "embeddings are used as they are")),
    ("residual_multiplier", Only(is_one, "residuals are added as they are")),
    ("attention_multiplier", Only(never, "scores are divided by the root of the head's width")),
    ("clip_qkv", Only(never, "q, k and v are used as they are")),
    // What counts in training alone, and is not done here.
    ("attention_dropout", Noted("no dropout is applied to attention")),
    // About programs, files and training, and the settings of text generation of old files.
    // transformers keeps a GGUF file's general.name under this key (`modeling_gguf_pytorch_utils.py`).
    ("_model_name_or_path", Harmless),
    ("_name_or_path", Harmless),
    ("name_or_path", Harmless),
    ("_commit_hash", Harmless),
    ("architectures", Harmless),
    ("auto_map", Harmless),
    ("transformers_version", Harmless),
    ("transformers.js_config", Harmless),
    ("attn_implementation", Harmless),
    ("_attn_implementation", Harmless),
    ("_attn_implementation_autoset", Harmless),
    ("_attn_implementation_internal", Harmless),
    ("_experts_implementation_internal", Harmless),
    ("experts_implementation", Harmless),
    ("_flash_attn_2_enabled", Harmless),
    ("use_flash_attention", Harmless),
    ("use_flash_attn", Harmless),
    ("unsloth_version", Harmless),
    ("unsloth_fixed", Harmless),
    ("is_llama_config", Harmless),
    ("is_decoder", Harmless),
    ("pretraining_tp", Harmless),
    ("tensor_parallel", Harmless),
    ("use_cache", Harmless),
    ("use_bfloat16", Harmless),
    ("gradient_checkpointing", Harmless),
    ("output_attentions", Harmless),
    ("output_hidden_states", Harmless),
    ("return_dict", Harmless),
    ("use_return_dict", Harmless),
    ("torchscript", Harmless),
    ("tf_legacy_loss", Harmless),
    ("chunk_size_feed_forward", Harmless),
    ("tie_last_hidden_states", Harmless),
    ("task_specific_params", Harmless),
    ("finetuning_task", Harmless),
    ("problem_type", Harmless),
    ("id2label", Harmless),
    ("label2id", Harmless),
    ("num_labels", Harmless),
    ("classifier_dropout", Harmless),
    ("tokenizer_class", Harmless),
    ("prefix", Harmless),
    ("sep_token_id", Harmless),
    ("unk_token_id", Harmless),
    ("decoder_start_token_id", Harmless),
    ("model_max_length", Harmless),
    ("max_length", Harmless),
    ("min_length", Harmless),
    ("max_new_tokens", Harmless),
    ("do_sample", Harmless),
    ("early_stopping", Harmless),
    ("num_beams", Harmless),
    ("num_beam_groups", Harmless),
    ("diversity_penalty", Harmless),
    ("temperature", Harmless),
    ("top_k", Harmless),
    ("top_p", Harmless),
    ("typical_p", Harmless),
    ("repetition_penalty", Harmless),
    ("encoder_repetition_penalty", Harmless),
    ("length_penalty", Harmless),
    ("no_repeat_ngram_size", Harmless),
    ("encoder_no_repeat_ngram_size", Harmless),
    ("bad_words_ids", Harmless),
    ("num_return_sequences", Harmless),
    ("output_scores", Harmless),
    ("return_dict_in_generate", Harmless),
    ("forced_bos_token_id", Harmless),
    ("forced_eos_token_id", Harmless),
    ("remove_invalid_values", Harmless),
    ("exponential_decay_length_penalty", Harmless),
    ("suppress_tokens", Harmless),
    ("begin_suppress_tokens", Harmless),
    ("epsilon_cutoff", Harmless),
    ("eta_cutoff", Harmless),
    ("num_assistant_tokens", Harmless),
    ("num_assistant_tokens_schedule", Harmless),
    ("assistant_confidence_threshold", Harmless),
    ("assistant_lookbehind", Harmless),
    ("target_lookbehind", Harmless),
];

/// Keys of `rope_scaling` and `rope_parameters`.
pub const ROPE_KEYS: &SettingTable = &[
    ("rope_type", Used),
    ("type", Used),
    ("rope_theta", Used),
    ("factor", Used),
    ("low_freq_factor", Used),
    ("high_freq_factor", Used),
    ("original_max_position_embeddings", Used),
    ("attention_factor", Used),
    ("beta_fast", Used),
    ("beta_slow", Used),
    ("mscale", Used),
    ("mscale_all_dim", Used),
    ("truncate", Used),
    ("finetuned", Harmless),
    ("partial_rotary_factor", Only(is_one, "only heads that are rotated as a whole are supported")),
    ("short_factor", Only(never, "longrope is not supported")),
    ("long_factor", Only(never, "longrope is not supported")),
    ("mrope_section", Only(never, "only positions in a text are supported")),
];

fn never(_: &Value) -> bool {
    false
}

fn is_one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

fn is_full_attention(value: &Value) -> bool {
    value.as_array().is_some_and(|types| types.iter().all(|layer| layer == "full_attention"))
}

#[cfg(test)]
mod tests {
    use nn_core::UnknownSettings;
    use serde_json::{Map, json};

    use super::*;
    use crate::fields::Fields;

    fn checked(key: &str, value: Value) -> Result<Vec<String>, String> {
        let map = Map::from_iter([(key.to_owned(), value)]);
        Fields::new(&map).check(CONFIG_KEYS, UnknownSettings::Refuse).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_treated_as_its_table_says() {
        for (key, key_use) in CONFIG_KEYS {
            let checked = |value| checked(key, value);
            assert_eq!(checked(Value::Null).unwrap(), [""; 0], "{key}");
            let with_value = checked(json!(0.5));
            match key_use {
                Used | Harmless => assert_eq!(with_value.unwrap(), [""; 0], "{key}"),
                Noted(effect) => assert!(with_value.unwrap()[0].contains(effect), "{key}"),
                Only(_, reason) => {
                    let error = with_value.unwrap_err();
                    assert_eq!(error, format!("`{key}` is 0.5 in `config.json`; {reason}"));
                }
            }
        }
    }

    #[test]
    fn no_key_stands_in_a_table_twice() {
        for table in [CONFIG_KEYS, ROPE_KEYS] {
            for (index, (key, _)) in table.iter().enumerate() {
                assert!(table[..index].iter().all(|(other, _)| other != key), "{key}");
            }
        }
    }
}
