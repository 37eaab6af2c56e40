//! Settings of papers, by name.

use clap::ValueEnum;
use llama_finetune::QuantizationChoice;
use lora::TargetModules;
use trainer::LrScheduler;

use super::settings::FinetuneConfig;

/// The settings of a paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recipe {
    /// Dettmers et al., arXiv 2305.14314, §4 and appendix B, and the defaults of `artidoro/qlora`, `qlora.py`.
    Qlora,
}

impl Recipe {
    /// Returns the settings, to be overridden by a run file and by flags.
    pub(crate) fn settings(self) -> FinetuneConfig {
        let Self::Qlora = self;
        FinetuneConfig {
            lora_target_modules: TargetModules::Pattern("all-linear".to_owned()),
            lora_r: 64,
            lora_alpha: 16.0,
            quantize: QuantizationChoice::nf4(),
            double_quant: true,
            learning_rate: 2e-4,
            lr_scheduler: LrScheduler::Constant,
            max_grad_norm: 0.3,
            group_by_length: true,
            optim: "paged_adamw_32bit".parse().unwrap_or_default(),
            ..FinetuneConfig::default()
        }
    }
}
