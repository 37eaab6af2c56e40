//! How the step of a model grows with tokens, rank and layers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::models::{Run, directory, measure};
use super::setting::{Measured, Part, Setting};
use super::workbench::remove;
use xtask::output::note;

const TOKENS: [usize; 4] = [128, 256, 512, 1024];
const RANKS: [usize; 4] = [8, 16, 64, 256];
/// Parts of all layers.
const LAYERS: [usize; 3] = [4, 2, 1];

pub(crate) fn run(setting: &Setting<'_>) -> Result<Option<Measured>> {
    if !setting.args.growth && !setting.args.only.contains(&Part::Growth) {
        note("skipped: it takes long (--growth)");
        return Ok(None);
    }
    let mut measured = serde_json::Map::new();
    for name in &setting.args.models {
        let model = directory(setting, name)?;
        let shallow = shallow_models(setting, &model)?;
        let layers = shallow.iter().map(|(layers, dir)| variant(format!("{layers} layers"), dir, 512, 8));
        let tables = [
            (
                "tokens",
                Vec::from(TOKENS.map(|tokens| variant(format!("{tokens} tokens"), &model, tokens, 8))),
            ),
            ("rank", Vec::from(RANKS.map(|rank| variant(format!("rank {rank}"), &model, 512, rank)))),
            ("layers", layers.collect()),
        ];
        for (what, runs) in &tables {
            let title = format!("{name}, bfloat16, growth with {what} (else 512 tokens, rank 8 on q and v)");
            measured.insert(format!("{name}, {what}"), json!(measure(setting, &title, runs)?));
        }
        for (_, dir) in &shallow {
            remove(dir)?;
        }
    }
    Ok(Some((Value::Object(measured), Vec::new())))
}

fn variant(name: String, model: &Path, tokens: usize, rank: usize) -> Run<'_> {
    let flags = ["--batch_size", "1", "--seq_len", &tokens.to_string(), "--lora_r", &rank.to_string()];
    let flags = flags.map(str::to_owned).to_vec();
    Run { name, is_peer: false, dtype: "bfloat16", model, flags }
}

/// Makes directories of the model's first layers: another number in `config.json`, links to all else.
fn shallow_models(setting: &Setting<'_>, model: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let config = model.join("config.json");
    let text = fs::read_to_string(&config).with_context(|| format!("cannot read `{}`", config.display()))?;
    let config: Value =
        serde_json::from_str(&text).with_context(|| format!("cannot read `{}`", config.display()))?;
    let all =
        config["num_hidden_layers"].as_u64().context("`num_hidden_layers` is missing in `config.json`")?;
    LAYERS
        .iter()
        .map(|part| {
            let layers = all.div_ceil(*part as u64);
            let dir = setting.bench.out.join(format!("{layers}-layers"));
            let made = shallow_model(model, &config, layers, &dir);
            made.with_context(|| format!("cannot make `{}`", dir.display()))?;
            Ok((layers, dir))
        })
        .collect()
}

fn shallow_model(model: &Path, config: &Value, layers: u64, dir: &Path) -> Result<()> {
    remove(dir)?;
    fs::create_dir_all(dir)?;
    let mut config = config.clone();
    config["num_hidden_layers"] = json!(layers);
    fs::write(dir.join("config.json"), serde_json::to_string_pretty(&config)?)?;
    for entry in fs::read_dir(model)? {
        let entry = entry?;
        if entry.file_name() != "config.json" && entry.path().is_file() {
            std::os::unix::fs::symlink(entry.path(), dir.join(entry.file_name()))?;
        }
    }
    Ok(())
}
