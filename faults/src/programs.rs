//! Kills and failing calls of `merge` and of `generate --file`.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::dice::Dice;
use crate::disturb::disturb;
use crate::report::Report;
use crate::scene::{Scene, names, run};

/// Disturbs `merge` `rounds` times. Laws: the merged model appears whole or not at all, and merging again gives the bytes
/// of an undisturbed merge and leaves nothing half-done.
pub(crate) fn merges(scene: &Scene, rounds: u64, seed: u64, report: &mut Report) -> Result<()> {
    let merge = |out: &str| {
        let mut command = scene.program("merge");
        command.arg("--base_model").arg(scene.base()).args(["--lora_weights", "whole", "--output_dir", out]);
        command
    };
    let begun = Instant::now();
    run(&mut merge("merged"))?.ok()?;
    let (whole, expected) = (begun.elapsed(), fs::read(scene.path("merged/model.safetensors"))?);
    let is_expected = || anyhow::Ok(fs::read(scene.path("m/out/model.safetensors"))? == expected);
    let mut dice = Dice::new(seed ^ 1);
    for round in 0..rounds {
        report.round("merge", (round, seed), |kind| {
            let (name, ended) = disturb(scene, merge("m/out"), whole, 30, &mut dice)?;
            *kind = name;
            ended.says_so()?;
            if scene.path("m/out").exists() {
                ensure!(is_expected()?, "half a model has its name");
                let has_tokenizer = scene.path("m/out/tokenizer.json").exists();
                ensure!(has_tokenizer, "a model without its tokenizer has its name");
                fs::remove_dir_all(scene.path("m/out"))?;
            } else {
                ensure!(ended.code != Some(0), "done, but nothing is there");
            }
            run(&mut merge("m/out"))?.ok()?;
            ensure!(is_expected()?, "another model");
            let left = names(&scene.path("m"))?;
            ensure!(ended.code.is_none() || left == ["out"], "half-done work is left: {left:?}");
            Ok(())
        });
        let _ = fs::remove_dir_all(scene.path("m"));
    }
    Ok(())
}

/// Disturbs `generate --file` `rounds` times. Law: started again, it ends in the answers of an undisturbed run, one line
/// for each prompt.
pub(crate) fn answers(scene: &Scene, rounds: u64, seed: u64, report: &mut Report) -> Result<()> {
    let prompt = |number| format!("{{\"instruction\": \"Où est Hugo, {number} ?\", \"input\": \"\"}}");
    fs::write(scene.path("prompts.jsonl"), (0..6).map(prompt).collect::<Vec<_>>().join("\n"))?;
    let generate = |out: &str| {
        let mut command = scene.program("generate");
        command.arg("--base_model").arg(scene.base()).args(["--file", "prompts.jsonl", "--out", out]);
        command.args("--max_new_tokens 8 --threads 1 --device cpu --batch_size 2".split(' '));
        command
    };
    let begun = Instant::now();
    run(&mut generate("answers.jsonl"))?.ok()?;
    let (whole, expected) = (begun.elapsed(), lines(scene, "answers.jsonl")?);
    let mut dice = Dice::new(seed ^ 2);
    for round in 0..rounds {
        report.round("generate --file", (round, seed), |kind| {
            let (name, ended) = disturb(scene, generate("again.jsonl"), whole, 7, &mut dice)?;
            *kind = name;
            ended.says_so()?;
            run(&mut generate("again.jsonl"))?.ok()?;
            ensure!(lines(scene, "again.jsonl")? == expected, "other answers");
            Ok(())
        });
        let _ = fs::remove_file(scene.path("again.jsonl"));
    }
    Ok(())
}

/// Reads the lines of an output without their times.
fn lines(scene: &Scene, name: &str) -> Result<Vec<Value>> {
    let text = fs::read_to_string(scene.path(name))?;
    let timeless = |line: &str| {
        let mut line: Value =
            serde_json::from_str(line).with_context(|| format!("a line of answers: {line}"))?;
        for name in ["first_token_s", "seconds"] {
            line.as_object_mut().map(|fields| fields.remove(name));
        }
        Ok(line)
    };
    text.lines().map(timeless).collect()
}
