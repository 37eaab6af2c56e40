//! 4-bit and 8-bit products on a CPU beside bitsandbytes and torch.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::workbench::{Workbench, ask};
use xtask::output::{note, say};
use xtask::workspace::Workspace;
use xtask::{measure, python};

#[derive(Debug, Args)]
pub(crate) struct Nf4Args {
    /// Python with torch and bitsandbytes
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: String,
    /// Turns that ours and Python's programs take
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Threads of both [default: 2]
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
}

/// Ours, theirs, how many times as fast ours has to be, and what it is.
const BARS: [(&str, &str, f64, &str); 7] = [
    ("nf4_matvec_ms", "layer_matvec_ms", 8.0, "NF4 matvec beside bitsandbytes' layer"),
    ("nf4_matvec_ms", "bf16_matvec_ms", 1.8, "NF4 matvec beside torch bfloat16"),
    ("nf4_batch_bf16_ms", "plain_batch_bf16_ms", 1.0, "NF4 times 256 rows in bfloat16"),
    ("nf4_batch_fp32_ms", "plain_batch_fp32_ms", 1.0, "NF4 times 256 rows in float32"),
    ("quantize_ms", "quantize_ms", 3.0, "quantising"),
    ("dequantize_bf16_ms", "dequantize_bf16_ms", 3.0, "dequantising to bfloat16, new memory"),
    // bitsandbytes has nothing else on a CPU; ours is what products do.
    ("dequantize_again_bf16_ms", "dequantize_bf16_ms", 3.0, "dequantising, memory used again"),
];

type Samples = BTreeMap<String, Vec<f64>>;

pub(crate) fn run(workspace: &Workspace, args: &Nf4Args) -> Result<()> {
    python::check(&args.python, &["torch", "bitsandbytes"])?;
    let bench = Workbench::new(workspace, Some(args.threads))?;
    let threads = args.threads.to_string();
    let (mut ours, mut theirs) = (Samples::new(), Samples::new());
    for round in 0..args.rounds {
        note(&format!("round {} of {}", round + 1, args.rounds));
        collect(&ask(bench.program("bench-nf4").args(["--threads", &threads]))?, &mut ours)?;
        collect(&ask(bench.script(&args.python, "nf4.py").args(["--threads", &threads]))?, &mut theirs)?;
    }
    say(&format!("{:<44}{:>10}{:>10}{:>8}{:>8}", "median ms", "ours", "theirs", "ratio", "bar"));
    let mut missed = Vec::new();
    for (our, their, bar, what) in BARS {
        let (our, their) = (median(&ours, our)?, median(&theirs, their)?);
        let ratio = their / our;
        say(&format!("{what:<44}{our:>10.3}{their:>10.3}{ratio:>8.2}{bar:>8.1}"));
        if ratio < bar {
            missed.push(format!("{what}: {ratio:.2} times as fast, {bar} asked for"));
        }
    }
    let read = median(&ours, "read_gb_per_s")?;
    for (time, bytes) in [("nf4_matvec_ms", "nf4_bytes"), ("int8_matvec_ms", "int8_bytes")] {
        let rate = median(&ours, bytes)? / median(&ours, time)? / 1e6;
        say(&format!("{time}: {rate:.1} GB/s of {read:.1} GB/s that a sum reads"));
    }
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("\n       ")) }
}

fn collect(value: &Value, samples: &mut Samples) -> Result<()> {
    for (name, value) in value.as_object().context("a bench printed no JSON object")? {
        let numbers = match value {
            Value::Array(all) => all.iter().filter_map(Value::as_f64).collect(),
            one => one.as_f64().into_iter().collect::<Vec<_>>(),
        };
        samples.entry(name.clone()).or_default().extend(numbers);
    }
    Ok(())
}

fn median(samples: &Samples, name: &str) -> Result<f64> {
    let all = samples.get(name).filter(|all| !all.is_empty()).context("a bench left a figure out")?;
    Ok(measure::median(all))
}
