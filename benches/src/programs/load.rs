//! `bench-load`: the opening of a checkpoint as a model.

use std::time::Instant;

use anyhow::Result;
use checkpoint::Base;
use clap::Parser;
use terminal::print;

/// Time the opening of a checkpoint as a model, and the private memory it takes.
#[derive(Debug, Parser)]
#[command(name = "bench-load", version)]
pub struct LoadArgs {
    #[arg(long = "base_model")]
    base_model: String,
    #[arg(long, default_value = "bfloat16")]
    dtype: String,
}

/// Runs `bench-load`.
///
/// # Errors
/// When the checkpoint cannot be opened.
pub fn run(args: LoadArgs) -> Result<()> {
    let LoadArgs { base_model, dtype } = args;
    let before = torch_ext::process_memory();
    let start = Instant::now();
    let model = Base::open(&base_model)?.load(tch::Device::Cpu, dtype.parse()?)?;
    let load_s = start.elapsed().as_secs_f64();
    let after = torch_ext::process_memory();
    let mib = |bytes: u64| bytes >> 20;
    print(&format!(
        "{{\"load_s\": {load_s:.4}, \"private_mib\": {}, \"private_before_mib\": {}, \"parameters\": {}}}\n",
        mib(after.private_bytes),
        mib(before.private_bytes),
        model.config().num_parameters()
    ));
    Ok(())
}
