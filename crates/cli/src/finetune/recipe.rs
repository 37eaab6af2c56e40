//! Recipes: names that stand for settings.

use clap::ValueEnum;

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
        assert_eq!((run.optim.name(), run.optim.is_paged()), ("paged_adamw_32bit", true));
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
