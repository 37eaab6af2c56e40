//! Differences between an adapter and the run that starts from its weights.

use std::path::Path;

use lora::LoraConfig;

use crate::FinetuneError;

/// Lists in sentences what a run with these settings changes about the adapter in `dir`, whose weights it starts from.
///
/// # Errors
/// [`FinetuneError::OtherAdapter`] when the tensors cannot be of the same shapes, [`FinetuneError::Adapter`] when the adapter
/// cannot be read.
pub fn start_changes(dir: &Path, run: &LoraConfig) -> Result<Vec<String>, FinetuneError> {
    let adapter = LoraConfig::from_dir(dir)
        .map_err(|source| FinetuneError::Adapter { dir: dir.to_owned(), source: Box::new(source) })?;
    let other = |field, theirs: String, ours: String| FinetuneError::OtherAdapter {
        dir: dir.to_owned(),
        field,
        theirs,
        ours,
    };
    if adapter.r != run.r {
        return Err(other("r", adapter.r.to_string(), run.r.to_string()));
    }
    if adapter.variant != run.variant {
        return Err(other(
            "lora_variant",
            adapter.variant.as_str().to_owned(),
            run.variant.as_str().to_owned(),
        ));
    }
    if adapter.rank_pattern != run.rank_pattern {
        return Err(other(
            "rank_pattern",
            format!("{:?}", adapter.rank_pattern),
            format!("{:?}", run.rank_pattern),
        ));
    }
    let mut changes = Vec::new();
    let dir = dir.display();
    let scale = |config: &LoraConfig| config.scale(config.lora_alpha, config.r);
    let (theirs, ours) = (scale(&adapter), scale(run));
    if (theirs - ours).abs() > 1e-12 * theirs.abs() {
        let settings = |config: &LoraConfig| {
            let rslora = if config.use_rslora { " with use_rslora" } else { "" };
            format!("lora_alpha {}{rslora}", config.lora_alpha)
        };
        changes.push(format!(
            "adapter `{dir}` has {}, a scale of {theirs}, and this run {}, a scale of {ours}: its effect is multiplied by {} \
             from the start",
            settings(&adapter),
            settings(run),
            ours / theirs
        ));
    }
    if adapter.alpha_pattern != run.alpha_pattern {
        changes.push(format!(
            "adapter `{dir}` has an alpha_pattern, and this run none: the scale of its layers changes"
        ));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_scale_is_told_and_another_rank_is_refused() {
        let run = LoraConfig { r: 4, lora_alpha: 64.0, ..LoraConfig::default() };
        let of = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("adapter_config.json"), text).unwrap();
            start_changes(dir.path(), &run)
        };
        assert!(of(r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 64}"#).unwrap().is_empty());
        let told = of(r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8}"#).unwrap();
        assert!(
            told[0].contains("lora_alpha 8, a scale of 2") && told[0].contains("multiplied by 8 "),
            "{told:?}"
        );
        let told = of(r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 64, "use_rslora": true}"#).unwrap();
        assert!(told[0].contains("use_rslora"), "{told:?}");
        let error = of(r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 64}"#).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("`r` 8, and this run 4"), "{error}");
        let error = of(r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 64, "use_dora": true}"#).unwrap_err();
        assert!(error.to_string().contains("`lora_variant` dora, and this run lora"), "{error}");
    }
}
