//! Ranges of the whole numbers that flags and run files take: the one place where they are bounded, before they drive any work.

use std::any::TypeId;
use std::num::NonZeroU32;

use clap::{Arg, Command};
use toml::{Table, Value};

use crate::usage::Usage;

/// Name, least and most of every whole number.
pub const RANGES: &[(&str, i128, i128)] = &[
    ("batch_size", 1, 1 << 16),
    ("cutoff_len", 2, 1 << 20),
    ("eval_steps", 1, 1_000_000_000),
    ("logging_steps", 1, 1_000_000_000),
    ("gpus", 1, 1 << 10),
    ("lora_r", 1, 1 << 16),
    ("max_answer_tokens", 1, 1 << 20),
    ("max_new_tokens", 0, 1 << 20),
    ("max_prompt_tokens", 1, 1 << 20),
    ("max_rows", 1, 1 << 12),
    ("max_seconds", 1, 31_536_000),
    ("max_steps", 1, 1_000_000_000),
    ("micro_batch_size", 1, 1 << 16),
    ("num_beams", 1, 1 << 8),
    ("num_epochs", 1, 1_000_000),
    ("processes", 1, 1 << 10),
    ("queue_len", 1, 1 << 20),
    ("records", 1, 1_000_000_000),
    ("samples", 0, 1_000_000_000),
    ("save_steps", 1, 1_000_000_000),
    ("save_total_limit", 1, 1_000_000),
    ("seed", 0, i64::MAX as i128),
    ("server_port", 0, u16::MAX as i128),
    ("shards", 1, 64),
    ("show", 0, 1_000_000_000),
    ("threads", 1, 1 << 12),
    ("top_k", 0, 1 << 24),
    ("val_set_size", 0, 1_000_000_000),
    ("warmup_steps", 0, 1_000_000_000),
    ("web", 0, u16::MAX as i128),
];

/// A number of bytes, which may have a unit and a parser of its own.
const SIZE: &str = "max_shard_size";

/// Checks a whole number, given as text, against the range of its name; a message begins with `shown`.
fn check(name: &str, shown: &str, text: &str) -> Result<i128, Usage> {
    let range = RANGES.iter().find(|(known, ..)| *known == name);
    let (least, most) = range.map_or((i128::MIN, i128::MAX), |&(_, least, most)| (least, most));
    match text.trim().parse::<i128>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        Ok(value) => {
            Err(Usage(format!("{shown} is {value}; it has to be at least {least} and at most {most}")))
        }
        Err(_) => {
            let expected = format!("a whole number of at least {least} and at most {most}");
            Err(Usage(format!("{shown} is `{text}`; expected {expected}")))
        }
    }
}

/// Checks the whole numbers of a run file.
///
/// # Errors
/// For the first that is out of its range.
pub fn check_table(settings: &Table) -> Result<(), Usage> {
    for (name, value) in settings {
        if let Value::Integer(number) = value {
            check(name, name, &number.to_string())?;
        }
    }
    Ok(())
}

/// Gives every flag of a whole number its range, and lets every number be negative, so that it is told why it may not.
pub fn bounded(command: Command) -> Command {
    command.mut_args(|arg| {
        let (name, of) = (arg.get_id().to_string(), arg.get_value_parser().type_id());
        macro_rules! whole {
            ($($whole:ty: $convert:expr),* $(,)?) => {
                $(if of == TypeId::of::<$whole>() {
                    return parsed::<$whole>(arg, name, $convert);
                })*
            };
        }
        if of == TypeId::of::<f64>() {
            return arg.allow_negative_numbers(true);
        }
        if name == SIZE {
            return arg;
        }
        whole!(
            usize: |number| number.try_into().ok(),
            u16: |number| number.try_into().ok(),
            u32: |number| number.try_into().ok(),
            u64: |number| number.try_into().ok(),
            i64: |number| number.try_into().ok(),
            NonZeroU32: |number| u32::try_from(number).ok().and_then(NonZeroU32::new),
        );
        arg
    })
}

/// Parses the flag's value by `convert`, once it is in the range of `name`.
fn parsed<T: Clone + Send + Sync + 'static>(arg: Arg, name: String, convert: fn(i128) -> Option<T>) -> Arg {
    arg.allow_negative_numbers(true).value_parser(move |text: &str| {
        let number = check(&name, &format!("--{name}"), text)?;
        convert(number).ok_or_else(|| Usage(format!("--{name} is {number}; it has to be smaller")))
    })
}
