//! The report on a step that cannot be used.

use std::fmt;

/// The numbers of a step that cannot be used, and where they are wrong.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BadNumbers {
    /// Mean loss over the step's targets.
    pub loss: f64,
    /// Global gradient norm.
    pub grad_norm: f64,
    /// Micro-batches of the step whose own loss is not finite; all of them when none is.
    pub micro_batches: Vec<usize>,
    /// Parameters that held NaN or infinity before the update.
    pub parameters: Vec<String>,
    /// Frozen weights that hold NaN or infinity; looked for where all parameters are finite.
    pub frozen: Vec<String>,
    /// Parameters whose gradient holds NaN or infinity.
    pub gradients: Vec<String>,
}

/// A step that ended a run: its numbers, and advice.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The step, from 1. It was not taken.
    pub step: u64,
    /// The learning rate it would have been taken with.
    pub learning_rate: f64,
    /// Indices of the records it read, in the training data; only those of the micro-batches at fault, where known.
    pub records: Vec<usize>,
    /// Loss, gradient norm, and where they are wrong.
    pub numbers: BadNumbers,
}

impl Diagnosis {
    fn advice(&self) -> &'static str {
        let BadNumbers { loss, parameters, frozen, .. } = &self.numbers;
        if !frozen.is_empty() || !parameters.is_empty() && self.step == 1 {
            "the weights are broken as they were loaded"
        } else if !parameters.is_empty() {
            "try an earlier checkpoint with a lower learning rate or a longer warm-up"
        } else if loss.is_nan() || loss.is_infinite() {
            "try float32 or bfloat16 if the model runs in float16, look at these records, or lower the learning rate"
        } else if *loss == 0.0 {
            "outputs or labels carry no information: try float32 or bfloat16 if the model runs in float16, and check \
             that the answers in these records are not empty"
        } else {
            "the backward pass overflowed: try float32 or bfloat16 if the model runs in float16, or lower the learning \
             rate"
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, learning_rate, records, numbers } = self;
        let BadNumbers { loss, grad_norm, parameters, frozen, gradients, .. } = numbers;
        write!(f, "stopped before step {step}: loss {loss}, gradient norm {grad_norm}, ")?;
        write!(f, "learning rate {learning_rate:e}, records {}; ", some_of(records))?;
        match (parameters.as_slice(), frozen.as_slice(), gradients.as_slice()) {
            ([], [], []) => write!(f, "all parameters and gradients are finite; ")?,
            ([], [], _) => {
                write!(f, "all parameters are finite, but not the gradient of {}; ", some_of(gradients))?;
            }
            ([], frozen, _) => write!(f, "not all values of the base are finite in {}; ", some_of(frozen))?,
            (parameters, ..) => write!(f, "not all values are finite in {}; ", some_of(parameters))?,
        }
        f.write_str(self.advice())
    }
}

/// Lists the first few items.
fn some_of(items: &[impl fmt::Display]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = items.len().saturating_sub(SHOWN);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{rest}", shown.join(", "))
}
