//! Ways out of an error, by the flags of the program that met it.

use std::error::Error;

use alpaca_data::DataError;
use clap::Command;
use llama_finetune::FinetuneError;
use trainer::TrainError;

/// A flag that is a way out, and the advice with and without it.
struct WayOut {
    flag: &'static str,
    with: &'static str,
    without: &'static str,
}

/// Returns what to do about `error` in the program `command`: a flag is named only where the program has it.
pub(crate) fn advice(error: &anyhow::Error, command: &Command) -> Option<&'static str> {
    let WayOut { flag, with, without } = error.chain().find_map(way_out)?;
    let has = command.get_arguments().any(|arg| arg.get_long() == Some(flag));
    Some(if has { with } else { without })
}

fn way_out(error: &(dyn Error + 'static)) -> Option<WayOut> {
    // libtorch's words.
    if error.to_string().contains("CUDA out of memory") {
        return Some(WayOut {
            flag: "micro_batch_size",
            with: "lower --micro_batch_size or --cutoff_len, or take --gradient_checkpointing, --quantize nf4, or --device_map auto with several GPUs (--plan estimates the memory)",
            without: "take fewer rows at a time, shorter texts, --quantize nf4, or several GPUs (--device_map auto)",
        });
    }
    let of_data = error.downcast_ref::<FinetuneError>().and_then(|error| match error {
        FinetuneError::Data(error) => Some(error),
        _ => None,
    });
    if let Some(TrainError::NothingLearnt { learning_rate, .. }) = error.downcast_ref()
        && *learning_rate > 0.0
    {
        return Some(WayOut {
            flag: "warmup_steps",
            with: "add `--warmup_steps 0` for a run this short",
            without: "set warmup_steps to 0 for a run this short",
        });
    }
    match error.downcast_ref::<DataError>().or(of_data)? {
        DataError::Record { .. } => Some(WayOut {
            flag: "skip_bad_records",
            with: "correct it, or leave bad records out with --skip_bad_records",
            without: "correct it",
        }),
        DataError::Column { .. } => Some(WayOut {
            flag: "ignore_columns",
            with: "take it out, or go on without it with --ignore_columns",
            without: "take it out",
        }),
        DataError::NoLabels { .. } => Some(WayOut {
            flag: "cutoff_len",
            with: "raise --cutoff_len, or learn the prompts too with --train_on_inputs",
            without: "take longer examples, or learn the prompts too",
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alpaca_data::BadRecord;
    use clap::CommandFactory;

    use super::*;
    use crate::compare::CompareArgs;
    use crate::finetune::FinetuneArgs;

    #[test]
    fn a_flag_is_named_only_by_a_program_that_has_it() {
        let record = BadRecord { index: 0, line: 1, reason: "has no `output`".to_owned() };
        let wrong = DataError::Record { path: "data.json".into(), record };
        let error = anyhow::Error::from(FinetuneError::from(wrong)).context("while reading");
        let advice = |command: &Command| advice(&error, command).unwrap();
        assert!(advice(&FinetuneArgs::command()).contains("--skip_bad_records"));
        assert_eq!(advice(&CompareArgs::command()), "correct it");
    }

    #[test]
    fn a_gpu_that_is_too_small_has_a_way_out() {
        let error = anyhow::anyhow!("CUDA out of memory. Tried to allocate 2 GiB").context("step 3");
        assert!(advice(&error, &FinetuneArgs::command()).unwrap().contains("--micro_batch_size"));
        assert!(advice(&error, &CompareArgs::command()).unwrap().contains("--quantize"));
        assert_eq!(advice(&anyhow::anyhow!("out of cheese"), &FinetuneArgs::command()), None);
    }
}
