//! Names that stand for settings: optimisers and recipes.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The optimiser, by transformers' name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Optim {
    /// `AdamW` with its state in float32.
    #[serde(rename = "adamw")]
    #[value(name = "adamw")]
    Adamw,
    /// With its state in 8 bits.
    #[serde(rename = "adamw_8bit")]
    #[value(name = "adamw_8bit")]
    Adamw8bit,
    /// In float32, the state in the memory of the host.
    #[serde(rename = "paged_adamw_32bit")]
    #[value(name = "paged_adamw_32bit")]
    PagedAdamw32bit,
    /// In 8 bits, paged.
    #[serde(rename = "paged_adamw_8bit")]
    #[value(name = "paged_adamw_8bit")]
    PagedAdamw8bit,
}

impl Optim {
    /// Whether the state is in 8 bits.
    pub fn is_8bit(self) -> bool {
        matches!(self, Self::Adamw8bit | Self::PagedAdamw8bit)
    }

    /// Whether the state of what a GPU trains lies in the memory of the host.
    pub fn is_paged(self) -> bool {
        matches!(self, Self::PagedAdamw32bit | Self::PagedAdamw8bit)
    }
}

/// Settings of a paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Recipe {
    /// Dettmers et al., arXiv 2305.14314, §4 and appendix B, and the defaults of `artidoro/qlora`, `qlora.py`.
    Qlora,
}

impl Recipe {
    /// The settings, as in a run file.
    pub fn settings(self) -> toml::Table {
        let Self::Qlora = self;
        let text = r#"
            lora_target_modules = "all-linear"
            lora_r = 64
            lora_alpha = 16.0
            quantize = "nf4"
            double_quant = true
            learning_rate = 2e-4
            lr_scheduler = "constant"
            max_grad_norm = 0.3
            group_by_length = true
            optim = "paged_adamw_32bit"
        "#;
        // A constant: the test below reads it.
        text.parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::FinetuneConfig;

    #[test]
    fn flags_beat_the_recipe_and_the_recipe_beats_the_defaults() {
        let flags: toml::Table = "base_model = 'a'\nlora_r = 8\ndouble_quant = false".parse().unwrap();
        let run = FinetuneConfig::resolve_over(Recipe::Qlora.settings(), flags, None).unwrap();
        assert_eq!((run.lora_r, run.double_quant, &*run.quantize), (8, false, "nf4"));
        assert_eq!((run.learning_rate, run.max_grad_norm, run.group_by_length), (2e-4, 0.3, true));
        assert_eq!(
            (run.optim, run.optim.is_8bit(), run.optim.is_paged()),
            (Optim::PagedAdamw32bit, false, true)
        );
    }

    #[test]
    fn a_wrong_quantisation_is_refused_by_name() {
        for (setting, named) in [
            ("quantize = 'int4'", "quantize is `int4`"),
            ("quantize = 'int8'\ndouble_quant = true", "double_quant"),
            ("quantize = 'nf4'\nfull = true", "--full"),
            ("optim = 'sgd'", "sgd"),
        ] {
            let flags: toml::Table = format!("base_model = 'a'\n{setting}").parse().unwrap();
            let error = FinetuneConfig::resolve(flags, None).unwrap_err().to_string();
            assert!(error.contains(named), "{setting}: {error}");
        }
    }
}
