//! The published shapes, for planning and for random models.

use crate::{LlamaConfig, ModelError, RopeScaling, TokenIds};

/// The names [`preset`] knows.
pub const PRESETS: [&str; 10] = [
    "7b",
    "13b",
    "30b",
    "65b",
    "llama2-7b",
    "llama3-8b",
    "llama3.2-1b",
    "tinyllama-1.1b",
    "smollm2-135m",
    "tiny",
];

/// Returns the shape of a published model: LLaMA 7B to 65B (arXiv 2302.13971, table 2), Llama 2 7B, Llama 3 8B, Llama 3.2 1B,
/// `TinyLlama` 1.1B, `SmolLM2` 135M (the last four from their `config.json`), and `tiny`, the shape of this project's own
/// embedded model.
///
/// # Errors
/// [`ModelError::UnknownPreset`] for any other name.
pub fn preset(name: &str) -> Result<LlamaConfig, ModelError> {
    let llama3 = |mut config: LlamaConfig| {
        config.num_key_value_heads = 8;
        config.rope_theta = 500_000.0;
        config.rms_norm_eps = 1e-5;
        config.bos_token_id = Some(128_000);
        config.eos_token_id = Some(TokenIds::One(128_001));
        config
    };
    Ok(match name {
        "7b" => LlamaConfig::new(32_000, 4096, 11_008, 32, 32),
        "13b" => LlamaConfig::new(32_000, 5120, 13_824, 40, 40),
        "30b" => LlamaConfig::new(32_000, 6656, 17_920, 60, 52),
        "65b" => LlamaConfig::new(32_000, 8192, 22_016, 80, 64),
        "llama2-7b" => LlamaConfig {
            rms_norm_eps: 1e-5,
            max_position_embeddings: 4096,
            ..LlamaConfig::new(32_000, 4096, 11_008, 32, 32)
        },
        "llama3-8b" => LlamaConfig {
            max_position_embeddings: 8192,
            ..llama3(LlamaConfig::new(128_256, 4096, 14_336, 32, 32))
        },
        "llama3.2-1b" => LlamaConfig {
            max_position_embeddings: 131_072,
            tie_word_embeddings: true,
            rope_scaling: Some(RopeScaling::Llama3 {
                factor: 32.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 8192,
            }),
            ..llama3(LlamaConfig::new(128_256, 2048, 8192, 16, 32))
        },
        "tinyllama-1.1b" => LlamaConfig {
            num_key_value_heads: 4,
            rms_norm_eps: 1e-5,
            ..LlamaConfig::new(32_000, 2048, 5632, 22, 32)
        },
        "smollm2-135m" => LlamaConfig {
            num_key_value_heads: 3,
            rope_theta: 100_000.0,
            rms_norm_eps: 1e-5,
            max_position_embeddings: 8192,
            tie_word_embeddings: true,
            bos_token_id: Some(0),
            eos_token_id: Some(TokenIds::One(0)),
            ..LlamaConfig::new(49_152, 576, 1536, 30, 9)
        },
        "tiny" => LlamaConfig {
            max_position_embeddings: 512,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: true,
            ..LlamaConfig::new(3584, 256, 640, 4, 8)
        },
        _ => {
            return Err(ModelError::UnknownPreset { name: name.to_owned(), known: PRESETS.join(", ") });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_valid_shape() {
        for name in PRESETS {
            preset(name).unwrap().validate().unwrap();
        }
        assert!(preset("8b").is_err());
    }
}
