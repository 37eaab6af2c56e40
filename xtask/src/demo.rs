//! `cargo xtask demo`: the main job on the embedded model and data.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::demo_report::{Evaluation, accuracy_table, examples};
use xtask::output::{note, say};
use xtask::process::{self, run_to_stderr};
use xtask::setup;
use xtask::workspace::Workspace;

/// The frozen model.
const BASE_MODEL: &str = "datasets/tiny-llama";
/// Records that no training run sees.
const TEST_RECORDS: &str = "datasets/records/test.json";
/// The run's settings; its `output_dir` is [`ADAPTER`].
const RUN_FILE: &str = "datasets/demo.toml";
/// Directory of the adapter.
const ADAPTER: &str = "target/demo/adapter";
/// Number of answers shown.
const EXAMPLES: usize = 6;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace)?;
    let bin = workspace.release_programs(&["finetune", "evaluate"])?;
    let work = workspace.path("target/demo");
    fs::create_dir_all(&work).with_context(|| format!("cannot create `{}`", work.display()))?;

    note("\n[1/3] answers of the base model to the test records");
    let before = evaluate(workspace, &bin, None, &work.join("before.json"))?;
    note("\n[2/3] fine-tuning");
    let start = Instant::now();
    let finetune = bin.join("finetune");
    run_to_stderr(workspace.command(&finetune).args(["--config", RUN_FILE, "--overwrite_output_dir"]))?;
    let finetune_s = start.elapsed().as_secs_f64();
    note("\n[3/3] answers of the fine-tuned model to the same records");
    let after = evaluate(workspace, &bin, Some(ADAPTER), &work.join("after.json"))?;

    say("\nAnswers to test records, the first of its kind each\n");
    say(&examples(&before, &after, EXAMPLES));
    say("Exact-match accuracy on held-out test records\n");
    say(&accuracy_table(&before, &after));
    say(&format!("fine-tuning took {finetune_s:.0} s on this machine, reading and saving included"));
    say(&format!("adapter: {ADAPTER} (PEFT's format)"));
    say("\nWhat to do next");
    let finetune = finetune.strip_prefix(&workspace.root).unwrap_or(&finetune).display().to_string();
    say(&format!(
        "  your own model and data:   {finetune} --base_model DIR --data_path FILE.json --output_dir DIR"
    ));
    say(&format!("  what that will need:       {finetune} --base_model DIR --data_path FILE.json --plan"));
    say(&format!("  the adapter in Python:     PeftModel.from_pretrained(base, \"{ADAPTER}\")"));
    say("  the embedded model anew:   cargo xtask tiny-model");
    say("  every test:                cargo xtask test");
    Ok(())
}

fn evaluate(workspace: &Workspace, bin: &Path, adapter: Option<&str>, json: &Path) -> Result<Evaluation> {
    let mut command = workspace.command(bin.join("evaluate"));
    command
        .args(["--base_model", BASE_MODEL, "--data_path", TEST_RECORDS, "--show", "0", "--json"])
        .arg(json);
    if let Some(adapter) = adapter {
        command.args(["--lora_weights", adapter]);
    }
    // Its table comes later, beside the other one.
    process::run(command.stdout(Stdio::null()))?;
    let text = fs::read_to_string(json).with_context(|| format!("cannot read `{}`", json.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read `{}`", json.display()))
}
