//! Values that must be the same in a run and in one that resumes it.

use std::collections::BTreeMap;
use std::path::Path;

use nn_core::Dataset;
use serde_json::Value;
use tch::Tensor;

use crate::TrainError;
use crate::config::TrainConfig;
use crate::crc32c::crc32c;

/// Name and value of everything that shapes a run.
pub(crate) type Fingerprint = BTreeMap<String, Value>;

/// Settings that change which files are written and where, but no number in them; and the length of a run, which may be
/// changed on purpose.
const FREE_SETTINGS: [&str; 6] =
    ["logging_steps", "save_steps", "save_total_limit", "num_epochs", "max_steps", "time_phases"];

/// The fingerprint's name of the update rule. It is left out for [`ADAMW`]: checkpoints older than the choice lack it.
const OPTIMIZER: &str = "optimizer";
const ADAMW: &str = "AdamW";

/// Computes the fingerprint of a run: its settings, the size of its data and a checksum of the first records, the shapes of
/// its parameters, and the caller's own values.
pub(crate) fn fingerprint(
    config: &TrainConfig,
    train: &dyn Dataset,
    validation: Option<&dyn Dataset>,
    parameters: &[(String, Tensor)],
    identity: &Fingerprint,
) -> Fingerprint {
    let Ok(Value::Object(mut settings)) = serde_json::to_value(config) else {
        unreachable!("a struct of numbers is a JSON object");
    };
    settings.retain(|name, _| !FREE_SETTINGS.contains(&name.as_str()));
    let mut fingerprint: Fingerprint = settings.into_iter().collect();
    let optimizer = config.optimizer_settings();
    fingerprint.insert("adam_beta1".into(), optimizer.beta1.into());
    fingerprint.insert("adam_beta2".into(), optimizer.beta2.into());
    fingerprint.insert("adam_8bit".into(), config.optimizer.is_8bit().into());
    match config.optimizer.rule_title() {
        ADAMW => fingerprint.remove(OPTIMIZER),
        title => fingerprint.insert(OPTIMIZER.into(), title.into()),
    };
    fingerprint.insert("train_records".into(), train.len().into());
    fingerprint.insert("train_checksum".into(), checksum(train, config.seed).into());
    fingerprint.insert("validation_records".into(), validation.map(Dataset::len).into());
    fingerprint.extend(identity.iter().map(|(name, value)| (name.clone(), value.clone())));
    for (name, tensor) in parameters {
        fingerprint.insert(format!("parameters.{name}"), tensor.size().into());
    }
    fingerprint
}

/// Checks that the run that wrote `checkpoint` is the one that is to resume it.
pub(crate) fn check_same_run(
    expected: &Fingerprint,
    saved: &Fingerprint,
    checkpoint: &Path,
) -> Result<(), TrainError> {
    // The optimiser first: another one has other defaults too.
    let mut names = std::iter::once(OPTIMIZER).chain(expected.keys().chain(saved.keys()).map(String::as_str));
    let differing = names.find(|&name| expected.get(name) != saved.get(name));
    let show = |name: &str, value: Option<&Value>| match value {
        Some(value) => value.to_string(),
        None if name == OPTIMIZER => Value::from(ADAMW).to_string(),
        None => "absent".to_owned(),
    };
    differing.map_or(Ok(()), |name| {
        Err(TrainError::ResumeMismatch {
            path: checkpoint.to_owned(),
            field: name.to_owned(),
            actual: show(name, expected.get(name)),
            expected: show(name, saved.get(name)),
        })
    })
}

/// Computes a checksum of the order of the first epoch and of the tokens and labels of its first records.
fn checksum(dataset: &dyn Dataset, seed: u64) -> u32 {
    const RECORDS: usize = 16;
    let order = dataset.epoch_order(0, seed);
    let batch = dataset.batch(&order[..order.len().min(RECORDS)]);
    let order = order.iter().map(|&index| index as i64);
    let numbers = order.chain(batch.input_ids).chain(batch.labels);
    crc32c(numbers.flat_map(i64::to_le_bytes))
}

#[cfg(test)]
mod tests {
    use nn_core::TokenBatch;

    use super::*;

    struct NoRecords;

    impl Dataset for NoRecords {
        fn len(&self) -> usize {
            0
        }

        fn epoch_order(&self, _epoch: u64, _seed: u64) -> Vec<usize> {
            Vec::new()
        }

        fn batch(&self, _indices: &[usize]) -> TokenBatch {
            TokenBatch::default()
        }
    }

    /// The settings in a checkpoint written before there was a choice of optimisers.
    const EARLIER: &str = r#"{
        "adam_8bit": false, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8, "eval_steps": 200,
        "gradient_accumulation_steps": 32, "learning_rate": 3e-4, "load_best_model_at_end": true,
        "lr_scheduler": "linear", "max_grad_norm": 1.0, "micro_batch_size": 4, "seed": 42, "train_checksum": 0,
        "train_records": 0, "validation_records": null, "warmup_steps": 100, "weight_decay": 0.0
    }"#;

    fn of(optimizer: &str) -> Fingerprint {
        let config = TrainConfig { optimizer: optimizer.parse().unwrap(), ..TrainConfig::default() };
        fingerprint(&config, &NoRecords, None, &[], &Fingerprint::new())
    }

    #[test]
    fn checkpoints_of_earlier_versions_are_still_of_the_same_run() {
        let saved: Fingerprint = serde_json::from_str(EARLIER).unwrap();
        assert_eq!(of("adamw"), saved);
        assert_eq!(of("paged_adamw_32bit"), saved);
        let error = check_same_run(&of("paged_adamw_8bit"), &saved, Path::new("c")).unwrap_err().to_string();
        assert!(error.contains("`adam_8bit` is true in this run, but false in the checkpoint"), "{error}");
    }
}
