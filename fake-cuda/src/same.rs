//! Equality of results up to rounding.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// Fields that tell of the machine, not of the result.
const OF_THE_MACHINE: [&str; 9] = [
    "tokens_per_s",
    "elapsed_s",
    "eval_s",
    "memory_mib",
    "first_token_s",
    "seconds",
    "load_s",
    "peak_host_mib",
    "peak_device_mib",
];

/// Compares two texts: words have to be equal, numbers to agree up to `tolerance` of the larger, or of 1.
pub(crate) fn texts(one: &str, other: &str, tolerance: f64) -> Result<()> {
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        (one.split_whitespace().collect(), other.split_whitespace().collect());
    ensure!(ours.len() == theirs.len(), "`{one}` and `{other}`");
    for (a, b) in ours.into_iter().zip(theirs) {
        let number = |word: &str| word.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>().ok();
        match (number(a), number(b)) {
            _ if a == b => {}
            (Some(x), Some(y)) => numbers(x, y, tolerance)?,
            _ => bail!("`{one}` and `{other}`"),
        }
    }
    Ok(())
}

fn numbers(x: f64, y: f64, tolerance: f64) -> Result<()> {
    let off = (x - y).abs();
    ensure!(off <= tolerance * x.abs().max(y.abs()).max(1.0), "{x} and {y} differ by {off:.2e}");
    Ok(())
}

/// Compares two values of JSON as [`texts`] does.
pub(crate) fn values(one: &Value, other: &Value, tolerance: f64) -> Result<()> {
    match (one, other) {
        (Value::Number(x), Value::Number(y)) => {
            numbers(x.as_f64().unwrap_or(f64::NAN), y.as_f64().unwrap_or(f64::NAN), tolerance)
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ensure!(ours.len() == theirs.len(), "lists of {} and {}", ours.len(), theirs.len());
            ours.iter().zip(theirs).try_for_each(|(a, b)| values(a, b, tolerance))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let of_result = |name: &&String| !OF_THE_MACHINE.contains(&name.as_str());
            for name in ours.keys().chain(theirs.keys()).filter(of_result) {
                let ours = ours.get(name).with_context(|| format!("only one has {name}"))?;
                let theirs = theirs.get(name).with_context(|| format!("only one has {name}"))?;
                values(ours, theirs, tolerance).with_context(|| name.clone())?;
            }
            Ok(())
        }
        _ => {
            ensure!(one == other, "{one} and {other}");
            Ok(())
        }
    }
}

/// Compares files of one JSON value a line.
pub(crate) fn lines(one: &Path, other: &Path, tolerance: f64) -> Result<()> {
    let read = |path: &Path| -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(path).with_context(|| format!("no `{}`", path.display()))?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    };
    values(&Value::Array(read(one)?), &Value::Array(read(other)?), tolerance)
}

/// Compares the tensors of two files: the length of the difference of each has to be at most `tolerance` of its own.
pub(crate) fn tensors(one: &Path, other: &Path, tolerance: f64) -> Result<()> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("no `{}`", path.display()));
    let (ours, theirs) = (read(one)?, read(other)?);
    let (ours, theirs) = (SafeTensors::deserialize(&ours)?, SafeTensors::deserialize(&theirs)?);
    ensure!(ours.len() == theirs.len() && !ours.is_empty(), "{} and {} tensors", ours.len(), theirs.len());
    for (name, tensor) in ours.tensors() {
        let other = theirs.tensor(&name)?;
        ensure!(
            tensor.shape() == other.shape() && tensor.dtype() == other.dtype(),
            "another shape of {name}"
        );
        let (a, b) = (floats(tensor.dtype(), tensor.data())?, floats(other.dtype(), other.data())?);
        let length = |xs: &mut dyn Iterator<Item = f64>| xs.map(|x| x * x).sum::<f64>().sqrt();
        let off = length(&mut a.iter().zip(&b).map(|(x, y)| x - y));
        let size = length(&mut a.iter().copied());
        ensure!(off <= tolerance * size, "{name} is off by {:.2e} of its length", off / size);
    }
    Ok(())
}

fn floats(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f64>> {
    let halves =
        |shift: u32| bytes.as_chunks().0.iter().map(move |&two| u32::from(u16::from_le_bytes(two)) << shift);
    match dtype {
        Dtype::F32 => {
            Ok(bytes.as_chunks().0.iter().map(|&four| f64::from(f32::from_le_bytes(four))).collect())
        }
        Dtype::BF16 => Ok(halves(16).map(|bits| f64::from(f32::from_bits(bits))).collect()),
        other => bail!("tensors of {other:?} are not compared"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_differ_by_rounding_and_words_may_not() {
        assert!(texts("perplexity 677.3141 (3 tokens)", "perplexity 677.3137 (3 tokens)", 1e-5).is_ok());
        assert!(texts("perplexity 677.3141", "perplexity 678", 1e-5).is_err());
        assert!(texts("a ball", "a box", 1.0).is_err());
    }

    #[test]
    fn fields_of_the_machine_are_not_compared() {
        let one = serde_json::json!({ "loss": 1.0, "elapsed_s": 3.0 });
        let other = serde_json::json!({ "loss": 1.000_000_1, "elapsed_s": 4.0 });
        assert!(values(&one, &other, 1e-6).is_ok() && values(&one, &other, 1e-9).is_err());
    }
}
