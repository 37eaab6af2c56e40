//! The learning rate of each step.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Shape of the learning rate over a run (transformers `optimization.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrScheduler {
    /// Warm-up, then a straight line to 0 at the end (`get_linear_schedule_with_warmup`).
    Linear,
    /// Warm-up, then half a cosine to 0 at the end (`get_cosine_schedule_with_warmup`).
    Cosine,
    /// The peak from the first step, without warm-up (`get_constant_schedule`).
    Constant,
    /// Warm-up, then the peak (`get_constant_schedule_with_warmup`).
    ConstantWithWarmup,
}

impl LrScheduler {
    /// All schedules.
    pub const ALL: [Self; 4] = [Self::Linear, Self::Cosine, Self::Constant, Self::ConstantWithWarmup];

    /// Returns its name in transformers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Cosine => "cosine",
            Self::Constant => "constant",
            Self::ConstantWithWarmup => "constant_with_warmup",
        }
    }
}

impl fmt::Display for LrScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LrScheduler {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("`{text}` is none of {}", names()))
    }
}

/// The learning rate as a function of the step, and of nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrSchedule {
    kind: LrScheduler,
    peak: f64,
    warmup_steps: f64,
    total_steps: f64,
}

impl LrSchedule {
    /// Creates a schedule that reaches `peak` after `warmup_steps` of `total_steps`.
    pub fn new(kind: LrScheduler, peak: f64, warmup_steps: u64, total_steps: u64) -> Self {
        Self { kind, peak, warmup_steps: warmup_steps as f64, total_steps: total_steps as f64 }
    }

    /// Returns the learning rate of the step after `steps_done` steps. With warm-up the first one is
    /// 0, as in transformers.
    pub fn at(&self, steps_done: u64) -> f64 {
        let step = steps_done as f64;
        let (warmup, total) = (self.warmup_steps, self.total_steps);
        let factor = match self.kind {
            LrScheduler::Constant => 1.0,
            _ if step < warmup => step / warmup,
            LrScheduler::ConstantWithWarmup => 1.0,
            LrScheduler::Linear => ((total - step) / (total - warmup).max(1.0)).max(0.0),
            LrScheduler::Cosine => {
                let progress = (step - warmup) / (total - warmup).max(1.0);
                (0.5 * (1.0 + (PI * progress).cos())).max(0.0)
            }
        };
        self.peak * factor
    }
}
