//! `cargo xtask tiny-model`: remakes the embedded model from its generator.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use xtask::output::note;
use xtask::process::run_to_stderr;
use xtask::setup;
use xtask::workspace::Workspace;

/// Directory in which corpus, tokenizer and trained model are made.
const WORK: &str = "target/tiny-model";
/// Directory of the kept model.
const HOME: &str = "datasets/tiny-llama";
/// Its files; the last is absent where the model needs none.
const FILES: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let start = Instant::now();
    setup::ensure(workspace)?;
    run_to_stderr(workspace.cargo().args(["run", "--release", "--package", "world", "--", "build"]))?;
    let bin = workspace.release_binaries()?;
    let model = format!("{WORK}/model");
    // An earlier run is not gone on with: the model has to come from the committed sources alone.
    let model_dir = workspace.path(&model);
    if model_dir.exists() {
        fs::remove_dir_all(&model_dir).with_context(|| format!("cannot remove `{}`", model_dir.display()))?;
    }
    run_to_stderr(
        workspace
            .command(bin.join("pretrain"))
            .args(["--config", "datasets/tiny-llama.toml"])
            .args(["--corpus", &format!("{WORK}/corpus.txt")])
            .args(["--tokenizer", WORK])
            .args(["--output_dir", &model]),
    )?;
    let home = workspace.path(HOME);
    fs::create_dir_all(&home).with_context(|| format!("cannot create `{}`", home.display()))?;
    for name in FILES {
        let (from, to) = (model_dir.join(name), home.join(name));
        if name == "generation_config.json" && !from.exists() {
            continue;
        }
        fs::copy(&from, &to)
            .with_context(|| format!("cannot copy `{}` to `{}`", from.display(), to.display()))?;
    }
    note(&format!("{HOME} is remade ({:.0} s)", start.elapsed().as_secs_f64()));
    Ok(())
}
